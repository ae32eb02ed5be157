package presence

import (
	"net/netip"
	"slices"
)

// Loopback is the interface on which an address proves nothing: services have
// addresses there for their own ends.
const Loopback = "lo"

// Bound tells on which interfaces each address of the host is. Addresses are
// unmapped and have no zone.
type Bound map[netip.Addr][]string

// Has reports whether the address is on any interface but loopback.
func (b Bound) Has(addr netip.Addr) bool {
	return slices.ContainsFunc(b[addr], func(link string) bool { return link != Loopback })
}
