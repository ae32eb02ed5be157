package vrrp

import (
	"net/netip"
	"slices"
)

// FloatingIP is an address that follows the MASTER of a VRRP instance.
type FloatingIP struct {
	// Prefix is the address with its prefix length as the configuration has
	// it. Host bits are kept: 192.0.2.10/24 is the address 192.0.2.10.
	Prefix netip.Prefix
	// Device is the interface named by `dev`, empty if the line has none.
	Device string
}

// Addr returns the address alone, without zone and unmapped.
func (f FloatingIP) Addr() netip.Addr { return f.Prefix.Addr().WithZone("").Unmap() }

// String returns the address with its prefix length, as configured.
func (f FloatingIP) String() string { return f.Prefix.String() }

// Immovable returns why no provider can move the address to another host, or an
// empty text for an address that can be moved. keepalived binds immovable addresses
// as virtual ones: the first address of an IPv6 instance is a link-local address
// (RFC 5798, section 5.1.2).
func (f FloatingIP) Immovable() string {
	switch a := f.Addr(); {
	case a.IsLinkLocalUnicast():
		return "it is link-local, and valid on its own network only"
	case a.IsMulticast():
		return "it is a multicast group"
	case a.IsLoopback():
		return "it is a loopback address"
	case a.IsUnspecified():
		return "it is the unspecified address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "it is the broadcast address"
	}
	return ""
}

// Movable returns those of the addresses that a provider may move.
func Movable(ips []FloatingIP) []FloatingIP {
	return slices.DeleteFunc(slices.Clone(ips), func(ip FloatingIP) bool { return ip.Immovable() != "" })
}
