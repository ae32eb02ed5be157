package keepalivedconf

import (
	"net/netip"
	"slices"
	"time"

	"berth/vrrp"
)

// instance is a vrrp_instance while it is being read. Zero values mean that
// the word was not given.
type instance struct {
	name                string
	at                  place
	iface               string // that can be used
	missing             string // that would be, if it existed
	mtu                 int
	exists              bool // the interface does
	withoutInterface    bool // it runs without one
	vrid                int
	family              Family
	bare                bool // no address decided the family, and that counts
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
	hmac                *hmac
	notify              bool
	noAddresses         bool
	addresses, excluded []vrrp.FloatingIP
}

// instance returns the instance that the words of a vrrp_instance block apply
// to. Where the block was skipped because it has no name, and its brace was not
// found either, the words apply to the instance before; without an instance
// before, keepalived writes to memory that is not its own.
func (m *machine) instance() *instance {
	if m.current == nil {
		m.refuse("keepalived may crash here: this belongs to a vrrp_instance that does not exist, because it has no valid name and no { or }; give it a name and both braces")
		return &instance{}
	}
	return m.current
}

func (m *machine) inInstance() bool { return m.current != nil }

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
	m.byName[name], m.current = i, i
}

// endInstance is also called for a block that is skipped up to the end of
// the file, when the instance that it applies to may not exist.
func (m *machine) endInstance() {
	if m.r.dialect.has[wordsOutsideAreIgnored] {
		m.current = nil
		return
	}
	m.instance()
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
	seconds := lenientSeconds
	if m.r.dialect.has[floatInterval] {
		seconds = floatSeconds
	}
	d, ok, exact := seconds(string(s.words[1]), 10*time.Millisecond, 255*time.Second)
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

// setUnicast is for the words whose mere presence asks for unicast.
func (m *machine) setUnicast(statement) { m.instance().unicast = true }

func (m *machine) setUnicastSource(s statement) {
	m.setUnicast(s)
	m.setSource(s)
}

// sameFamily reports whether an address may be used with an instance. The first
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
		m.warn("%s %s is ignored, because it is not an address; write one address without a length", s.words[0], s.words[1])
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
		m.warn("mcast_dst_ip %s is ignored, because it is not an address; write one address", s.words[1])
	case !m.sameFamily(i, address):
		m.warn("mcast_dst_ip %s is ignored, because the instance is IPv%d; use a group of that family", s.words[1], i.family)
	case address.Is4() && !address.IsMulticast() || address.Is6() && !address.IsLinkLocalMulticast():
		m.warn("mcast_dst_ip %s is ignored, because it is not a multicast group; use a group, link-local for IPv6", s.words[1])
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
		m.warn("unicast_peer %s is ignored, because it is not an address; write one address per line", words[0])
	case !m.sameFamily(i, address):
		m.warn("unicast_peer %s is ignored, because the instance is IPv%d; use an address of that family", words[0], i.family)
	case m.r.dialect.has[dropsDuplicates] && slices.Contains(i.peers, address):
		m.warn("unicast_peer %s is dropped, because the instance has it already; remove one", address)
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
