package keepalivedconf

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"berth/vrrp"
)

// complete checks the instances and groups and fills in the defaults, in the order
// in which keepalived does.
func (m *machine) complete() *Config {
	m.checkScriptUser()
	for _, i := range m.instances {
		m.checkMinimum(i)
	}
	c := &Config{Groups: m.completeGroups()}
	c.Instances = make([]Instance, len(m.instances))
	for n, i := range m.instances {
		m.completeInstance(i)
		c.Instances[n] = m.result(i)
	}
	m.checkConflicts()
	m.checkSockets()
	m.adviseOnInstances()
	return c
}

func (m *machine) warnFor(i *instance, format string, args ...any) {
	m.r.report.warn(m.r.message(i.at), "vrrp_instance %s: "+format, append([]any{i.name}, args...)...)
}

func (m *machine) refuseFor(i *instance, format string, args ...any) {
	m.r.report.refuse(m.r.message(i.at), "vrrp_instance %s: "+format, append([]any{i.name}, args...)...)
}

// checkMinimum refuses an instance that cannot be completed.
func (m *machine) checkMinimum(i *instance) {
	if i.vrid == 0 {
		m.refuseFor(i, "it has no valid virtual_router_id; give it one from 1 to 255")
	}
	if i.iface == "" && i.missing == "" { // a missing interface is refused already
		m.checkWithoutInterface(i)
	}
}

// checkWithoutInterface refuses an instance that cannot do without an interface. Unicast
// needs none in some versions.
func (m *machine) checkWithoutInterface(i *instance) {
	has := m.r.dialect.has
	unicast := len(i.peers) > 0 || has[crashesWithoutPeers] && i.unicast
	switch {
	case has[needsInterface] || !unicast:
		m.refuseFor(i, "it has no interface that can be used; name one")
	case !i.source.IsValid():
		m.refuseFor(i, "it has neither an interface nor unicast_src_ip; name the interface")
	case i.source.Is6() && i.source.IsLinkLocalUnicast():
		m.refuseFor(i, "it has no interface, which a link-local unicast_src_ip needs; name one")
	default:
		if len(i.peers) == 0 {
			m.refuseFor(i, "keepalived may crash here: it has neither an interface nor unicast_peer; name the interface")
		}
		i.withoutInterface = true
	}
}

// completeGroups gives each sync group the members that exist. An instance
// is in one group only, and a group without members does not exist.
func (m *machine) completeGroups() []Group {
	var groups []Group
	inGroup := map[string]string{}
	for _, g := range m.groups {
		at := m.r.message(g.at)
		done := Group{Name: g.name, Notify: g.notify, File: at.File, Line: at.Line}
		for _, name := range g.members {
			other, taken := inGroup[name]
			switch {
			case m.byName[name] == nil:
				m.r.report.warn(at, "vrrp_sync_group %s: there is no vrrp_instance %s; correct the name or remove it", g.name, name)
			case taken:
				m.r.report.warn(at, "vrrp_sync_group %s: vrrp_instance %s is already in %s, which keeps it; remove one", g.name, name, other)
			default:
				inGroup[name] = g.name
				done.Members = append(done.Members, name)
			}
		}
		if len(done.Members) == 1 && m.r.dialect.has[removesGroupOfOne] {
			m.r.report.warn(at, "vrrp_sync_group %s has one member only and is removed, so that no notify script of it runs; remove it, or name another", g.name)
			continue
		}
		if len(done.Members) == 0 {
			m.r.report.warn(at, "vrrp_sync_group %s has no member that exists and is removed, so that no notify script of it runs; name its members", g.name)
			continue
		}
		groups = append(groups, done)
	}
	return groups
}

// completeInstance settles version, state, priority, interval and the
// addresses that fit one packet.
func (m *machine) completeInstance(i *instance) {
	if i.strict == 0 && m.globals.strict {
		i.strict = 1
	}
	strict := i.strict > 0
	switch {
	case i.family == IPv6 && (i.version == 0 || i.version == 2 && strict):
		i.version = 3
	case i.family == FamilyUnknown:
		i.family, i.bare = IPv4, m.r.dialect.has[bareIsApart]
	}
	if i.version == 0 {
		i.version = m.globals.version
	}
	if strict && len(i.peers) > 0 && i.exists && m.r.dialect.has[strictRefusesUnicast] {
		m.refuseFor(i, "it has unicast_peer, which strict mode refuses where the interface has multicast; remove strict mode or the peers")
	}
	if i.priority == 0 {
		i.priority = 100
		if i.state == "MASTER" {
			i.priority = 255
		}
	}
	if i.state == "" || strict {
		i.state = "BACKUP"
		if i.priority == 255 {
			i.state = "MASTER"
		}
	}
	if i.noPreempt && (i.priority == 255 || i.state == "MASTER") {
		m.warnFor(i, "nopreempt has no effect with state MASTER or priority 255; write state BACKUP")
		i.noPreempt = false
	}
	m.completeAuthentication(i, strict)
	m.completeInterval(i)
	m.moveExcess(i)
	m.dropWithoutInterface(i)
	m.checkAddresses(i, strict)
	if i.vmac && i.vmacName == "" {
		i.vmacName = m.unusedVMACName(i)
		m.vmacNames[i.vmacName] = true
	}
	if i.unicast && len(i.peers) == 0 {
		m.warnFor(i, "a unicast word is given but no valid unicast_peer, so that it uses multicast; add the peers")
	}
}

// dropWithoutInterface drops the addresses of an instance without an interface that name
// none themselves.
func (m *machine) dropWithoutInterface(i *instance) {
	if !i.withoutInterface || m.r.dialect.has[hasDefaultInterface] && m.lookUp(m.globals.defaultInterface).exists {
		return
	}
	for _, list := range []*[]vrrp.FloatingIP{&i.addresses, &i.excluded} {
		*list = slices.DeleteFunc(*list, func(ip vrrp.FloatingIP) bool {
			drop := ip.Device == ""
			if drop {
				m.warnFor(i, "address %s is dropped, because neither it nor the instance names an interface; add dev to its line", ip.Prefix)
			}
			return drop
		})
	}
}

// checkAddresses refuses an instance without addresses where its version needs one.
func (m *machine) checkAddresses(i *instance, strict bool) {
	switch {
	case len(i.addresses) > 0:
	case i.noAddresses && !strict:
	case i.noAddresses:
		m.refuseFor(i, "it has no virtual_ipaddress, which strict mode demands in spite of no_virtual_ipaddress; add one, or remove strict mode")
	case i.version == 3 || strict || i.family == IPv6 && m.r.dialect.has[demandsAddressOfIPv6]:
		m.refuseFor(i, "it has no virtual_ipaddress, which VRRP version 3, IPv6 and strict mode demand; add one")
	default:
		m.warnFor(i, "it has no virtual_ipaddress; add one")
	}
}

func (m *machine) completeAuthentication(i *instance, strict bool) {
	if i.hmac = i.hmac.complete(); i.hmac != nil {
		i.authType = ""
	}
	if i.authType == "" {
		return
	}
	why := ""
	switch {
	case strict:
		why = "strict mode has none"
	case i.version == 3:
		why = "VRRP version 3 has none"
	case !i.authPass:
		why = "there is no auth_pass"
	case i.family == IPv6 && i.authType == "AH":
		why = "there is no AH for IPv6"
	}
	if why != "" {
		m.warnFor(i, "authentication is ignored, because %s; remove it", why)
		i.authType = ""
	}
}

// completeInterval rounds the advertisement interval to a value that the version
// can express: whole seconds in version 2, hundredths of up to 40.95 s in version
// 3, where a value below 40.96 s is rounded after the greatest is enforced.
func (m *machine) completeInterval(i *instance) {
	unit, greatest := time.Second, 255*time.Second
	if i.version == 3 {
		unit, greatest = 10*time.Millisecond, 40950*time.Millisecond
	}
	wanted := i.interval
	if wanted == 0 {
		wanted = time.Second
	}
	if i.interval = greatest; wanted < greatest+unit {
		i.interval = max((wanted + unit/2).Truncate(unit), unit)
	}
	if i.interval > greatest && !m.r.dialect.has[roundsIntervalUp] {
		i.interval = greatest
	}
	if i.interval != wanted {
		m.warnFor(i, "advert_int %v becomes %v in VRRP version %d; write that, or version 3 on all hosts for less than a second", wanted, i.interval, i.version)
	}
}

// Sizes of the parts of an advertisement, in bytes.
const (
	sizeEthernet = 14
	sizeIPv4     = 20
	sizeIPv6     = 40
	sizeVRRP     = 8
	sizeAuth     = 8  // the field of VRRP version 2
	sizeAH       = 24 // the IPsec header
	addressLimit = 255
)

// moveExcess moves the addresses that do not fit one packet to the end of the
// excluded list. keepalived binds them all the same, and does not advertise them.
func (m *machine) moveExcess(i *instance) {
	header, address := sizeEthernet+sizeIPv4+sizeVRRP+i.hmac.trailer(), 4
	if i.family == IPv6 {
		header, address = sizeEthernet+sizeIPv6+sizeVRRP+i.hmac.trailer(), 16
	} else if i.version == 2 {
		header += sizeAuth
		if i.authType == "AH" {
			header += sizeAH
		}
	}
	limit := addressLimit
	if i.mtu >= header { // below that keepalived's unsigned numbers wrap around
		limit = min((i.mtu-header)/address, addressLimit)
	}
	if len(i.addresses) > limit {
		if m.r.dialect.has[movesOneMore] && limit > 0 {
			limit--
		}
		m.warnFor(i, "it has %d virtual_ipaddress, of which %d fit one packet; the others are treated as virtual_ipaddress_excluded: put them there on all hosts", len(i.addresses), limit)
		i.excluded = append(i.excluded, i.addresses[limit:]...)
		i.addresses = i.addresses[:limit:limit]
	}
}

// unusedVMACName returns the interface name that use_vmac has by default:
// vrrp.VRID, with a number before the dot if another instance has that name.
func (m *machine) unusedVMACName(i *instance) string {
	prefix, suffix := m.globals.vmacPrefix, "."+strconv.Itoa(i.vrid)
	if prefix == "" {
		prefix = "vrrp"
	}
	fit := func(infix string) string {
		room := interfaceNameLimit - 1 - len(infix) - len(suffix)
		return prefix[:min(len(prefix), room)] + infix + suffix
	}
	if name := fit(""); !m.vmacNames[name] {
		return name
	}
	if name := fit("6"); i.family == IPv6 && !m.vmacNames[name] {
		return name
	}
	const tries = 100 // more instances with one virtual_router_id are refused anyway
	for n := 1; n < tries; n++ {
		if name := fit(strconv.Itoa(n)); !m.vmacNames[name] {
			return name
		}
	}
	return fit("")
}

// result returns the finished instance.
func (m *machine) result(i *instance) Instance {
	at := m.r.message(i.at)
	return Instance{
		Name:           i.name,
		Interface:      cmp.Or(i.iface, i.missing),
		VRID:           i.vrid,
		Family:         i.family,
		Version:        i.version,
		State:          i.state,
		Priority:       i.priority,
		NoPreempt:      i.noPreempt,
		AdvertInterval: i.interval,
		Unicast:        len(i.peers) > 0,
		Peers:          i.peers,
		VMAC:           i.vmacName,
		Notify:         i.notify,
		Addresses:      i.addresses,
		Excluded:       i.excluded,
		File:           at.File,
		Line:           at.Line,
	}
}

// router is the identity that must be unique among instances.
type router struct {
	family  Family
	vrid    int
	unicast bool
	iface   string
	group   netip.Addr
	bare    bool
	vmac    bool // IPv6 only: the group is scoped by the interface it is sent on
}

// checkConflicts refuses two instances whose advertisements other hosts could not
// distinguish.
func (m *machine) checkConflicts() {
	have := make(map[router][]*instance, len(m.instances))
	for _, i := range m.instances {
		if i.vrid == 0 || i.iface == "" {
			continue // refused already
		}
		key := router{family: i.family, bare: i.bare, vrid: i.vrid, unicast: len(i.peers) > 0, iface: i.iface}
		if !key.unicast {
			key.vmac = i.vmac && !i.vmacXmitBase && i.family == IPv6
			switch {
			case i.destination.IsValid():
				key.group = i.destination
			case i.family == IPv4:
				key.group = m.globals.group4
			default:
				key.group = m.globals.group6
			}
		}
		for _, other := range have[key] {
			m.checkConflict(i, other)
		}
		if len(have[key]) < math.MaxUint8 {
			have[key] = append(have[key], i)
		}
	}
}

// socket is what keepalived shares among instances that send in one way.
type socket struct {
	family  Family
	ah      bool // authenticated by a header of its own
	iface   string
	unicast bool
	source  netip.Addr
}

// checkSockets refuses an instance with peers for whose socket keepalived looks among those
// of the instances before it, where it compares a source that a socket for multicast does
// not have.
func (m *machine) checkSockets() {
	if !m.r.dialect.has[crashesOnMixedUnicast] {
		return
	}
	var open []socket
	for _, i := range m.instances {
		s := socket{family: i.family, ah: i.authType == "AH", iface: i.iface, unicast: len(i.peers) > 0}
		if s.unicast {
			s.source = i.source
		}
		if i.vmac && (s.unicast || !i.vmacXmitBase) {
			s.iface = i.vmacName
		}
		found := false
		for _, o := range open {
			if o == s {
				found = true
				break
			}
			if s.unicast && !o.unicast && o.family == s.family && o.ah == s.ah && o.iface == s.iface {
				m.refuseFor(i, "keepalived may crash here: it has unicast_peer, and an instance before it on interface %s has none; put it first", i.iface)
			}
		}
		if !found {
			open = append(open, s)
		}
	}
}

func (m *machine) checkConflict(i, other *instance) {
	const same = "it has the same virtual_router_id %d as %s on interface %s; give it another"
	if len(i.peers) == 0 {
		switch {
		case m.globals.allowIfChanges:
			m.warnFor(i, same+": keepalived only warns of it, because of allow_if_changes", i.vrid, other.name, i.iface)
		case m.r.dialect.has[namedGroupIsApart] && i.destination.IsValid() != other.destination.IsValid():
			m.warnFor(i, same+": other versions and builds of keepalived refuse it", i.vrid, other.name, i.iface)
		case i.exists:
			m.refuseFor(i, same, i.vrid, other.name, i.iface)
		}
		return
	}
	if i.peerSet == nil {
		i.peerSet = make(map[netip.Addr]bool, len(i.peers))
		for _, p := range i.peers {
			i.peerSet[p] = true
		}
	}
	switch {
	case !m.r.dialect.has[peersShareRouterID] && !slices.ContainsFunc(other.peers, func(p netip.Addr) bool { return i.peerSet[p] }):
	case i.source.IsValid() && other.source.IsValid():
		if i.source == other.source {
			m.refuseFor(i, same+", or another peer", i.vrid, other.name, i.iface)
		}
	default:
		m.warnFor(i, same+", or another peer: keepalived refuses it if both send from the same address", i.vrid, other.name, i.iface)
	}
}
