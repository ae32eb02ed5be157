package vrrp

import "net/netip"

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
