package keepalivedconf

import (
	"bytes"
	"strings"
)

// interfaceNameLimit is the size of an interface name with its NUL.
const interfaceNameLimit = 16

// iface is an interface of the machine.
type iface struct {
	mtu    int
	exists bool
}

// lookUp returns the MTU of an interface and whether the machine has it.
func (m *machine) lookUp(name string) iface {
	if known, ok := m.interfaces[name]; ok {
		return known
	}
	found := iface{mtu: 1500, exists: validInterfaceName(name)}
	if found.exists && m.options.Interfaces != nil {
		found.mtu, found.exists = m.options.Interfaces(name)
	}
	m.interfaces[name] = found
	return found
}

// validInterfaceName reports whether the kernel allows a name. For the kernel the
// Latin-1 no-break space is white space too.
func validInterfaceName(name string) bool {
	return name != "" && len(name) < interfaceNameLimit && name != "." && name != ".." &&
		!strings.ContainsAny(name, "/:% \t\n\v\f\r") && strings.IndexByte(name, 0xa0) < 0
}

// useInterface looks up an interface that the file relies on. keepalived exits if
// the interface does not exist, unless dynamic_interfaces is set.
func (m *machine) useInterface(name string) (found iface, usable bool) {
	found = m.lookUp(name)
	switch {
	case found.exists:
		return found, true
	case m.globals.dynamicInterfaces:
		m.warn("interface %s does not exist on this machine; keepalived will use it when it appears", name)
		return iface{}, true
	}
	m.refuse("interface %s does not exist on this machine; create it, correct the name, or set dynamic_interfaces in global_defs", name)
	return found, false
}

func (m *machine) setInterface(s statement) {
	i, name := m.instance(), string(s.words[1])
	if len(name) >= interfaceNameLimit {
		m.warn("interface %s has more than %d letters and is ignored; correct the name", name, interfaceNameLimit-1)
		return
	}
	found, ok := m.useInterface(name)
	i.iface, i.missing, i.mtu, i.exists = "", "", 0, false
	switch {
	case !ok:
		i.missing = name
	case name == "lo":
		m.warn("interface lo is ignored, because VRRP does not run on a loopback interface; name another")
	default:
		i.iface, i.mtu, i.exists = name, found.mtu, found.exists
	}
}

func (m *machine) setVRF(s statement) {
	if i, name := m.instance(), string(s.words[1]); len(name) < interfaceNameLimit && i.iface == "" {
		m.useInterface(name)
	}
}

func (m *machine) setVMAC(s statement) {
	i := m.instance()
	i.vmac = true
	for _, w := range s.words[1:min(len(s.words), 3)] {
		name := string(w)
		if i.vmacName == "" && m.vmacNames[name] && m.r.dialect.has[crashesOnVMACName] {
			m.r.crash("use_vmac names an interface that another instance has")
		}
		if !bytes.ContainsRune(w, ':') && i.vmacName == "" && validInterfaceName(name) && !m.vmacNames[name] {
			i.vmacName = name
			m.vmacNames[name] = true
		}
	}
}

// setIPVLAN reads use_ipvlan, whose address decides the family and serves as
// the source address.
func (m *machine) setIPVLAN(s statement) {
	i := m.instance()
	if i.ipvlan {
		return
	}
	i.ipvlan = true
	for _, w := range s.words[1:] {
		address, err := parseAddress(cutMask(string(w)))
		if err != nil {
			continue
		}
		switch family := familyOf(address); {
		case i.family == FamilyUnknown:
			i.family = family
		case i.family != family:
			m.warn("the address %s of use_ipvlan is ignored, because the instance is IPv%d; remove it", w, i.family)
			continue
		}
		if !i.source.IsValid() {
			i.source = address
		}
	}
}

func (m *machine) trackInterface(words [][]byte) { m.useInterface(string(words[0])) }

func (m *machine) garpInterfaces(words [][]byte) {
	for _, w := range words {
		m.useInterface(string(w))
	}
}
