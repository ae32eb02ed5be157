package keepalivedconf

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"berth/vrrp"
)

// interfaceNameLimit is the size of an interface name with its NUL.
const interfaceNameLimit = 16

// instance is a vrrp_instance while it is being read. Zero values mean that
// the word was not given.
type instance struct {
	name                string
	at                  place
	iface               string // that can be used
	missing             string // that would be, if it existed
	mtu                 int
	exists              bool // the interface does
	vrid                int
	family              Family
	version             int
	state               string
	priority            int
	interval            time.Duration
	noPreempt           bool
	strict              int // 0 unset, 1 on, -1 off
	vmac                bool
	ipvlan              bool
	vmacName            string
	vmacXmitBase        bool
	authType            string
	authPass            bool
	unicast             bool // a unicast word was given
	peers               []netip.Addr
	peerSet             map[netip.Addr]bool // for checkConflict
	source              netip.Addr
	destination         netip.Addr
	notify              bool
	noAddresses         bool
	addresses, excluded []vrrp.FloatingIP
}

// group is a vrrp_sync_group while it is being read.
type group struct {
	name    string
	at      place
	members []string
	notify  bool
}

// iface is what is known of an interface.
type iface struct {
	mtu    int
	exists bool
}

// instance returns the instance that the words of a vrrp_instance block apply
// to. Where the block was skipped for want of a name, and its brace was not
// found either, that is the instance before it; without one keepalived
// writes to memory that is not its own.
func (m *machine) instance() *instance {
	if len(m.instances) == 0 {
		m.refuse("keepalived may crash here: this belongs to a vrrp_instance that does not exist, because it has no valid name and no { or }; give it a name and both braces")
		return &instance{}
	}
	return m.instances[len(m.instances)-1]
}

func (m *machine) beginInstance(s statement) {
	if len(s.words) != 2 {
		m.warn("vrrp_instance needs one name and has %d, so the whole block is skipped; put a name with spaces in double quotes", len(s.words)-1)
		m.skipBlock("a vrrp_instance without a valid name")
		return
	}
	name := string(s.words[1])
	if first := m.byName[name]; first != nil {
		m.warn("vrrp_instance %s exists already in line %d, so this whole block is skipped; rename it or merge the two", name, first.at.line)
		m.skipBlock("the second vrrp_instance " + name)
		return
	}
	i := &instance{name: name, at: m.r.at}
	m.instances = append(m.instances, i)
	m.byName[name] = i
}

// endInstance is also called for a block that is skipped up to the end of
// the file, when the instance that it applies to may not exist.
func (m *machine) endInstance() { m.instance() }

// lookUp tells what the machine has of an interface.
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

// validInterfaceName tells the names that the kernel allows. Its idea of white
// space includes the Latin-1 no-break space.
func validInterfaceName(name string) bool {
	return name != "" && len(name) < interfaceNameLimit && name != "." && name != ".." &&
		!strings.ContainsAny(name, "/:% \t\n\v\f\r") && strings.IndexByte(name, 0xa0) < 0
}

// useInterface looks up an interface that the file relies on. One that does
// not exist makes keepalived exit, unless dynamic_interfaces is set.
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

func (m *machine) setState(s statement) {
	i := m.instance()
	switch word := string(s.words[1]); {
	case word == "MASTER":
		i.state = word
	case word == "BACKUP" && i.state == "MASTER":
		m.warn("state BACKUP is ignored, because state MASTER was given above; remove one")
	case word == "BACKUP":
		i.state = word
	default:
		m.warn("state %s is not known and is taken as BACKUP; write MASTER or BACKUP", word)
		i.state = "BACKUP"
	}
}

func (m *machine) setRouterID(s statement) {
	i := m.instance()
	id, ok := strictNumber(string(s.words[1]), 1, 255)
	if !ok {
		m.warn("virtual_router_id %s is ignored; write a number from 1 to 255", s.words[1])
		return
	}
	i.vrid = id
}

func (m *machine) setPriority(s statement) {
	i := m.instance()
	priority, ok := strictNumber(string(s.words[1]), 1, 255)
	if !ok {
		m.warn("priority %s is taken as 100; write a number from 1 to 255", s.words[1])
		priority = 100
	}
	i.priority = priority
}

func (m *machine) setAdvertInterval(s statement) {
	i := m.instance()
	d, ok, exact := lenientSeconds(string(s.words[1]), 10*time.Millisecond, 255*time.Second)
	switch {
	case !ok:
		m.warn("advert_int %s is ignored; write seconds from 0.01 to 255", s.words[1])
	case !exact:
		m.warn("advert_int %s is read as %v; write seconds with at most six decimal places", s.words[1], d)
		i.interval = d
	default:
		i.interval = d
	}
}

// readVersion reads a VRRP version: 2 or 3.
func (m *machine) readVersion(s statement) (int, bool) {
	v, rest := cInt(string(s.words[1]), 10)
	if v != 2 && v != 3 {
		m.warn("%s %s is ignored; write 2 or 3", s.words[0], s.words[1])
		return 0, false
	}
	if rest != "" {
		m.warn("%s %s is read as %d; remove what follows the number", s.words[0], s.words[1], v)
	}
	return int(v), true
}

func (m *machine) setVersion(s statement) {
	i := m.instance()
	v, ok := m.readVersion(s)
	switch {
	case !ok:
	case i.version != 0 && i.version != v || v == 2 && i.family == IPv6:
		m.warn("version %d is ignored, because version %d was given or follows from the addresses above; remove it", v, max(i.version, 3))
	default:
		i.version = v
	}
}

func (m *machine) setNativeIPv6(statement) {
	i := m.instance()
	if i.family == IPv4 {
		m.warn("native_ipv6 is ignored, because the instance has IPv4 addresses above; remove it")
		return
	}
	i.family, i.version = IPv6, 3
}

// truth reads the words that switch something on or off. No word means on.
func truth(s statement) (on, ok bool) {
	if len(s.words) < 2 {
		return true, true
	}
	switch string(s.words[1]) {
	case "true", "on", "yes":
		return true, true
	case "false", "off", "no":
		return false, true
	}
	return false, false
}

func (m *machine) setStrictMode(s statement) {
	i := m.instance()
	switch on, ok := truth(s); {
	case !ok:
		m.warn("strict_mode %s is ignored; write on or off", s.words[1])
	case on:
		i.strict = 1
	default:
		i.strict = -1
	}
}

func (m *machine) setVMAC(s statement) {
	i := m.instance()
	i.vmac = true
	for _, w := range s.words[1:min(len(s.words), 3)] {
		name := string(w)
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

// setUnicast is for the words whose mere presence asks for unicast.
func (m *machine) setUnicast(statement) { m.instance().unicast = true }

func (m *machine) setUnicastSource(s statement) {
	m.setUnicast(s)
	m.setSource(s)
}

// sameFamily tells whether an address may be used with an instance. The first
// address of any kind decides the family of the instance.
func (m *machine) sameFamily(i *instance, a netip.Addr) bool {
	if i.family == FamilyUnknown {
		i.family = familyOf(a)
	}
	return i.family == familyOf(a)
}

func (m *machine) setSource(s statement) {
	i := m.instance()
	address, err := parseAddress(cutRange(string(s.words[1])))
	switch {
	case err != nil:
		m.warn("%s %s is ignored, because it is no address; write one address without a length", s.words[0], s.words[1])
	case !m.sameFamily(i, address):
		m.warn("%s %s is ignored, because the instance is IPv%d; use an address of that family", s.words[0], s.words[1], i.family)
		i.source = netip.Addr{}
	default:
		i.source = address
	}
}

func (m *machine) setDestination(s statement) {
	i := m.instance()
	i.destination = netip.Addr{}
	address, err := parseAddress(cutRange(string(s.words[1])))
	switch {
	case err != nil:
		m.warn("mcast_dst_ip %s is ignored, because it is no address; write one address", s.words[1])
	case !m.sameFamily(i, address):
		m.warn("mcast_dst_ip %s is ignored, because the instance is IPv%d; use a group of that family", s.words[1], i.family)
	case address.Is4() && !address.IsMulticast() || address.Is6() && !address.IsLinkLocalMulticast():
		m.warn("mcast_dst_ip %s is ignored, because it is no multicast group; use one, link-local for IPv6", s.words[1])
	default:
		i.destination = address
	}
}

func (m *machine) unicastPeers(s statement) {
	m.setUnicast(s)
	m.values(s, (*machine).unicastPeer)
}

func (m *machine) unicastPeer(words [][]byte) {
	i := m.instance()
	address, err := parseAddress(cutRange(string(words[0])))
	switch {
	case err != nil:
		m.warn("unicast_peer %s is ignored, because it is no address; write one address per line", words[0])
	case !m.sameFamily(i, address):
		m.warn("unicast_peer %s is ignored, because the instance is IPv%d; use an address of that family", words[0], i.family)
	default:
		i.peers = append(i.peers, address)
	}
}

func (m *machine) setAuthType(s statement) {
	i := m.instance()
	switch word := string(s.words[1]); word {
	case "AH", "PASS":
		i.authType = word
	default:
		m.warn("auth_type %s is ignored; write PASS or AH", word)
	}
}

func (m *machine) setAuthPass(s statement) {
	m.instance().authPass = len(s.words[1]) > 0
	if len(s.words[1]) > 8 {
		m.warn("auth_pass is cut to 8 letters; shorten it")
	}
}

func (m *machine) trackInterface(words [][]byte) { m.useInterface(string(words[0])) }

func (m *machine) trackGroupInterface(words [][]byte) {
	m.group()
	m.trackInterface(words)
}

func (m *machine) garpInterfaces(words [][]byte) {
	for _, w := range words {
		m.useInterface(string(w))
	}
}

// sync groups

// group returns the group that the words of a vrrp_sync_group block apply to.
func (m *machine) group() *group {
	if len(m.groups) == 0 {
		m.refuse("keepalived may crash here: this belongs to a vrrp_sync_group that does not exist, because it has no valid name and no {; give it a name and both braces")
		return &group{}
	}
	return m.groups[len(m.groups)-1]
}

func (m *machine) beginGroup(s statement) {
	if len(s.words) != 2 {
		m.warn("vrrp_sync_group needs one name and has %d, so the whole block is skipped; put a name with spaces in double quotes", len(s.words)-1)
		m.skipBlock("a vrrp_sync_group without a valid name")
		return
	}
	name := string(s.words[1])
	if first := m.groupByName[name]; first != nil {
		m.warn("vrrp_sync_group %s exists already in line %d, so this whole block is skipped; rename it or merge the two", name, first.at.line)
		m.skipBlock("the second vrrp_sync_group " + name)
		return
	}
	g := &group{name: name, at: m.r.at}
	m.groups = append(m.groups, g)
	m.groupByName[name] = g
}

func (m *machine) groupMembers(s statement) {
	g := m.group()
	if g.members != nil {
		m.warn("the second group block of vrrp_sync_group %s is skipped, and its } ends the sync group; put all members in one", g.name)
		m.skipBlock("the second group of vrrp_sync_group " + g.name)
		return
	}
	m.values(s, func(m *machine, words [][]byte) {
		for _, w := range words {
			g.members = append(g.members, string(w))
		}
	})
	if g.members == nil {
		m.warn("vrrp_sync_group %s has an empty group block; name its members", g.name)
	}
}

func (m *machine) beginTrackGroup(s statement) {
	exists := false
	if len(s.words) == 2 {
		_, exists = m.tracked[string(s.words[1])]
	}
	if len(s.words) != 2 || exists {
		m.warn("track_group needs one name of its own, so the whole block is skipped; give it one")
		m.skipBlock("a track_group without a valid name")
		return
	}
	m.tracked[string(s.words[1])] = false
	m.trackGroup = string(s.words[1])
}

func (m *machine) trackGroupMembers(s statement) {
	if m.tracked[m.trackGroup] {
		m.warn("the second group block of track_group %s is skipped, and its } ends the track group; put all members in one", m.trackGroup)
		m.skipBlock("the second group of track_group " + m.trackGroup)
		return
	}
	m.values(s, func(m *machine, _ [][]byte) { m.tracked[m.trackGroup] = true })
}

// bfd is a bfd_instance while it is being read. Only its name and whom it
// serves matter, because another one of that name is skipped.
type bfd struct {
	name          string
	vrrp, checker bool
}

const bfdNameLimit = 32

func (m *machine) beginBFD(s statement) {
	name := string(s.words[1])
	m.bfd = bfd{name: name}
	if len(name) >= bfdNameLimit || m.followed[name] {
		m.warn("bfd_instance needs a name of its own with less than %d letters, so the whole block is skipped; give it one", bfdNameLimit)
		m.skipBlock("a bfd_instance without a valid name")
		return
	}
	m.followed[name] = true
}

func (m *machine) endBFD() {
	if m.bfd.checker && !m.bfd.vrrp {
		delete(m.followed, m.bfd.name)
	}
}
