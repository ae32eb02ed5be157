package pool

import (
	"errors"
	"net/netip"
	"slices"

	"berth/ips"
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
		ip, err := ips.ParseAddress(key)
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

// Mistaken reports whether an error says that a text cannot be an address of a pool.
func Mistaken(err error) bool {
	_, mistaken := errors.AsType[*ips.InvalidError](err)
	return mistaken
}

// key returns how the list in etcd has an address that berth puts there.
func key(ip vrrp.FloatingIP) string {
	if ip.Prefix.IsSingleIP() {
		return ip.Addr().String()
	}
	return ip.String()
}
