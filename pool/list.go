package pool

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"berth/vrrp"
)

// stray is a key below ips/ that lists no address, and why.
type stray struct{ key, reason string }

// parseList returns the addresses that the keys below ips/ list, without their prefix,
// in order. An address that is listed by two keys counts once.
func parseList(keys []string) (list []vrrp.FloatingIP, strays []stray) {
	keys = slices.Sorted(slices.Values(keys))
	seen := map[netip.Addr]vrrp.FloatingIP{}
	for _, key := range keys {
		ip, err := ParseAddress(key)
		if err != nil {
			strays = append(strays, stray{key, err.Error()})
			continue
		}
		switch former, twice := seen[ip.Addr()]; {
		case !twice:
			seen[ip.Addr()] = ip
			list = append(list, ip)
		case former != ip:
			strays = append(strays, stray{key, "the address is listed as " + former.String() + " too, which counts"})
		}
	}
	slices.SortFunc(list, func(a, b vrrp.FloatingIP) int { return a.Addr().Compare(b.Addr()) })
	return list, strays
}

var (
	errNoAddress = errors.New("it is not an IP address with or without a prefix length, such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10")
	errNoHost    = errors.New("no host can have it as an address of its own")
)

// Mistaken reports whether an error says that a text cannot be an address of a pool.
func Mistaken(err error) bool { return errors.Is(err, errNoAddress) || errors.Is(err, errNoHost) }

// ParseAddress reads an address of a pool: the text that follows ips/ in its key. Host
// bits are kept; without a length it is /32 or /128.
func ParseAddress(text string) (vrrp.FloatingIP, error) {
	host, length, long := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return vrrp.FloatingIP{}, errNoAddress
	}
	bits := addr.BitLen()
	if long {
		p, err := netip.ParsePrefix(text)
		if err != nil || length == "0" {
			return vrrp.FloatingIP{}, errNoAddress
		}
		bits = p.Bits()
	}
	if addr.Is4In6() {
		if bits -= 96; bits <= 0 {
			return vrrp.FloatingIP{}, errNoAddress
		}
		addr = addr.Unmap()
	}
	if addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return vrrp.FloatingIP{}, errNoHost
	}
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(addr, bits)}, nil
}

// key returns how the list in etcd has an address that berth puts there.
func key(ip vrrp.FloatingIP) string {
	if ip.Prefix.IsSingleIP() {
		return ip.Addr().String()
	}
	return ip.String()
}
