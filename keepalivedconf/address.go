package keepalivedconf

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"berth/vrrp"
)

var errAddress = errors.New("not an address")

// parseAddress reads an address as inet_pton(3) does: a colon makes it IPv6,
// and there are no zones, short forms or leading zeros.
func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is6() != strings.Contains(s, ":") {
		return netip.Addr{}, errAddress
	}
	return a, nil
}

// cutRange removes what follows a - or / in an address of which only the
// first part counts.
func cutRange(s string) string {
	if i := strings.IndexByte(s, '-'); i >= 0 {
		return s[:i]
	}
	return cutMask(s)
}

func cutMask(s string) string {
	s, _, _ = strings.Cut(s, "/")
	return s
}

// familyOf returns the family that keepalived gives an address: IPv6 for
// ::ffff:192.0.2.1 too.
func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

func (m *machine) virtualAddress(words [][]byte) {
	i := m.instance()
	ip, ok := m.address(words, false)
	switch {
	case !ok:
	case !m.sameFamily(i, ip.Prefix.Addr()):
		m.warn("address %s is dropped, because the instance is IPv%d; move it to virtual_ipaddress_excluded or an instance of its own", words[0], i.family)
	case m.duplicate(i, ip, false):
	default:
		i.addresses = append(i.addresses, ip)
	}
}

// duplicate reports whether keepalived drops an address because the instance has it
// already. The length does not count. The device counts as it is written, and only where
// one of the two addresses is excluded.
func (m *machine) duplicate(i *instance, ip vrrp.FloatingIP, excluded bool) bool {
	if !m.r.dialect.has[dropsDuplicates] {
		return false
	}
	same := func(have vrrp.FloatingIP) bool { return have.Addr() == ip.Addr() }
	sameDevice := func(have vrrp.FloatingIP) bool { return same(have) && have.Device == ip.Device }
	among := same
	if excluded {
		among = sameDevice
	}
	if !slices.ContainsFunc(i.addresses, among) && !slices.ContainsFunc(i.excluded, sameDevice) {
		return false
	}
	m.warn("address %s is dropped, because the instance has it already; remove one", ip.Prefix)
	return true
}

func (m *machine) excludedAddress(words [][]byte) {
	i := m.instance()
	if ip, ok := m.address(words, false); ok && !m.duplicate(i, ip, true) {
		i.excluded = append(i.excluded, ip)
	}
}

func (m *machine) staticAddress(words [][]byte) {
	if ip, ok := m.address(words, true); ok && ip.Device == "" {
		m.useInterface(m.globals.defaultInterface)
	}
}

// flags are the options of an address that take no value.
var flags = map[string]bool{
	"home": true, "-nodad": true, "mngtmpaddr": true, "noprefixroute": true,
	"autojoin": true, "no_track": true,
}

// address reads ADDRESS[/LENGTH] and its options, in any order. It returns false
// if keepalived drops the whole line.
func (m *machine) address(words [][]byte, static bool) (vrrp.FloatingIP, bool) {
	text := string(words[0])
	prefix, ok := m.prefix(text)
	if !ok {
		return vrrp.FloatingIP{}, false
	}
	a := addressLine{machine: m, text: text, ip: vrrp.FloatingIP{Prefix: prefix}}
	for n := 1; n < len(words); n++ {
		option := string(words[n])
		if flags[option] || option == "use_vmac" && !static {
			continue
		}
		if !takesValue(option, static) {
			if _, err := parseAddress(cutMask(option)); err == nil {
				m.warn("a line has one address: %s after %s is ignored; put it on a line of its own", option, text)
			} else {
				m.warn("option %s of address %s is unknown and ignored; remove it", option, text)
			}
			continue
		}
		if n+1 == len(words) {
			m.warn("address %s is dropped, because %s lacks its value; add it", text, option)
			return a.ip, false
		}
		n++
		if !a.take(option, string(words[n])) {
			return a.ip, false
		}
	}
	if a.broadcast != "" && a.peer {
		m.warn("broadcast %s of address %s is ignored, because it has a peer; remove one", a.broadcast, text)
	}
	return a.ip, true
}

// addressLine is what a line with an address has told so far.
type addressLine struct {
	*machine
	text      string // the address, as it is written
	ip        vrrp.FloatingIP
	peer      bool
	broadcast string
}

// take takes an option that has a value. It returns false if keepalived drops the whole
// line.
func (a *addressLine) take(option, value string) bool {
	prefix := a.ip.Prefix
	is6 := prefix.Addr().Is6()
	switch option {
	case "dev":
		if a.ip.Device != "" {
			a.warn("address %s is dropped, because it has two dev; remove one", a.text)
			return false
		}
		if _, usable := a.useInterface(value); !usable {
			return false
		}
		a.ip.Device = value
	case "brd", "broadcast":
		if is6 {
			a.warn("address %s is dropped, because IPv6 has no broadcast; remove %s", a.text, option)
			return false
		}
		if addr, err := parseAddress(value); value != "+" && value != "-" && (err != nil || !addr.Is4()) {
			a.warn("address %s is dropped, because broadcast %s is not an address; correct it, or write + or -", a.text, value)
			return false
		}
		a.broadcast = value
	case "label":
		switch {
		case len(value) < interfaceNameLimit:
		case a.r.dialect.has[cutsLabels]:
			a.warn("label %s of address %s is cut to %d letters; shorten it", value, a.text, interfaceNameLimit-1)
		default:
			a.warn("address %s is dropped, because its label has more than %d letters; shorten it", a.text, interfaceNameLimit-1)
			return false
		}
		if is6 {
			a.warn("label %s is ignored, because IPv6 addresses have none; remove it", value)
		}
	case "scope":
		if is6 {
			a.warn("scope %s is ignored for IPv6; remove it", value)
		}
	case "peer":
		if a.peer {
			a.warn("peer %s is ignored, because address %s has one already; remove it", value, a.text)
			return true
		}
		addr, err := parseAddress(value)
		if err != nil || addr.Is6() != is6 {
			a.warn("peer %s of address %s is ignored, because it is not an address of that family without a length; correct it", value, a.text)
			return true
		}
		if prefix.Bits() != prefix.Addr().BitLen() {
			a.warn("address %s is taken as /%d, because it has a peer; leave out its length", a.text, prefix.Addr().BitLen())
		}
		a.peer = true
		a.ip.Prefix = netip.PrefixFrom(prefix.Addr(), prefix.Addr().BitLen())
	case "preferred_lft":
		if _, ok, exact := lenientNumber(value, 0, 1<<32-1); value != "forever" && !(ok && exact) {
			a.warn("preferred_lft %s of address %s is not a number; write seconds or forever", value, a.text)
		}
	case "track_group":
	}
	return true
}

// takesValue reports whether an option is followed by a value.
func takesValue(option string, static bool) bool {
	switch option {
	case "dev", "scope", "broadcast", "brd", "label", "peer", "preferred_lft":
		return true
	}
	return static && option == "track_group"
}

// prefix reads ADDRESS[/LENGTH]. A length that is not a plain number counts as
// the number that its first digits make, or 0 without digits; a length that is too
// great counts as that of a single host. Host bits are kept.
func (m *machine) prefix(text string) (netip.Prefix, bool) {
	addressText, length, hasLength := strings.Cut(text, "/")
	bits := 32
	if strings.Contains(text, ":") {
		bits = 128
	}
	if hasLength {
		n, ok, exact := lenientNumber(length, 0, uint64(bits))
		switch {
		case !ok:
			m.warn("length /%s of address %s is taken as /%d; write a number from 0 to %d", length, addressText, bits, bits)
		case !exact || length == "":
			m.warn("length /%s of address %s is taken as /%d; write a plain number", length, addressText, n)
			bits = n
		default:
			bits = n
		}
	}
	address, err := parseAddress(addressText)
	if err != nil || address.Is6() != strings.Contains(text, ":") {
		hint := "write it out in full, as in 192.0.2.1/24 or 2001:db8::1/64"
		switch {
		case text == "{":
			hint = "there are no blocks inside this one, and the first } ends it; remove the braces"
		case strings.Contains(text, "$"):
			hint = "a definition was not replaced: write ${NAME}"
		}
		m.warn("%s is skipped, because it is not an address; %s", text, hint)
		m.r.report.doubt(&m.r.report.skipped, m.r.message(m.r.at), "%s is skipped, because it is not an address; %s", text, hint)
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(address, bits), true
}
