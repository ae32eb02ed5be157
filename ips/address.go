package ips

import (
	"fmt"
	"net/netip"
	"strings"

	"berth/vrrp"
)

// idPrefix is what the id of an address begins with, as those of LinK do.
const idPrefix = "vip-"

// ID returns the id of an address. The id follows from the address, so that an address
// that two clients add at once has one id.
func ID(a netip.Addr) string { return idPrefix + a.WithZone("").Unmap().String() }

// ParseID returns the address of an id. It takes the address alone too, and ignores a
// prefix length. The error is ErrUnknown.
func ParseID(id string) (netip.Addr, error) {
	ip, err := ParseAddress(strings.TrimPrefix(id, idPrefix))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find %q: %w", id, ErrUnknown)
	}
	return ip.Addr(), nil
}

// ParseAddress reads an address that is added at run time. Host bits are kept; without a
// length it is /32 or /128. The error is an *InvalidError.
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

var (
	errNoAddress = &InvalidError{"it is not an IP address with or without a prefix length, such as 192.0.2.10, 192.0.2.10/24 or 2001:db8::10"}
	errNoHost    = &InvalidError{"no host can have it as an address of its own"}
)
