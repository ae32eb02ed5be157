package cluster

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"berth/election"
)

// canonical returns an address with its prefix length, as berth writes it; a text that is
// not one stays, harmless.
func canonical(text string) string {
	if p, ok := prefixOf(text); ok {
		return p.String()
	}
	return clean(text, maxName)
}

func prefixOf(text string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// idOf returns the id that an address has in the API.
func idOf(text string) string {
	if p, ok := prefixOf(text); ok {
		return "vip-" + p.Addr().String()
	}
	return ""
}

// isAdded reports whether an instance is an address that was added at run time: it is
// called by the only address that it has.
func isAdded(name string, addresses []string) bool {
	a, err := netip.ParseAddr(name)
	if err != nil || a.String() != name || len(addresses) > 1 {
		return false
	}
	if len(addresses) == 1 {
		p, ok := prefixOf(addresses[0])
		return ok && p.Addr() == a
	}
	return true
}

// sortAddresses orders addresses as numbers, IPv4 first, and texts that are none after them.
func sortAddresses(all []AddressView) {
	type place struct {
		prefix  netip.Prefix
		address bool
		of      *AddressView
	}
	former := slices.Clone(all)
	places := make([]place, len(all))
	for i := range former {
		p, ok := prefixOf(former[i].Address)
		places[i] = place{p, ok, &former[i]}
	}
	slices.SortFunc(places, func(x, y place) int {
		switch {
		case x.address && !y.address:
			return -1
		case !x.address && y.address:
			return 1
		}
		return cmp.Or(x.prefix.Addr().Compare(y.prefix.Addr()), x.prefix.Bits()-y.prefix.Bits(),
			strings.Compare(x.of.Address, y.of.Address), strings.Compare(x.of.Instance, y.of.Instance), strings.Compare(x.of.Kind, y.of.Kind))
	})
	for i, p := range places {
		all[i] = *p.of
	}
}

// leases fills in how long the leases last. A member has one lease.
func leases(v *View, keys *election.ClusterKeys) {
	left := map[string]int64{}
	for _, queue := range keys.Instances {
		for _, c := range queue {
			if _, tells := keys.Members[c.Member]; !tells && c.Member != "" {
				left[clean(c.Member, maxName)] = max(0, c.Left.Milliseconds())
			}
		}
	}
	for name, k := range keys.Members {
		left[clean(name, maxName)] = max(0, k.Left.Milliseconds())
	}
	for i := range v.Members {
		if m := &v.Members[i]; !m.Gone {
			m.LeaseLeft = left[m.Name]
		}
	}
	for i := range v.Addresses {
		a := &v.Addresses[i]
		a.LeaseLeft = left[a.Owner]
	}
}
