package pool

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Share is a member to which addresses can be assigned, and its weight among the others.
type Share struct {
	Member string
	Weight int
	// Refuses are addresses that the member cannot serve.
	Refuses map[netip.Addr]bool
}

// Assign returns the member to which each address is assigned. It depends on nothing but
// its arguments, and not on their order.
//
// A member gets its share of the addresses, in proportion to its weight, rounded up or
// down. Among the assignments for which that is true, it is one with the fewest moves: an
// address stays with its holder unless the holder has more than its share. An address
// without a holder among the members goes to the one that it prefers among those whose
// share is not full. The preference depends on the address and the member alone (rendezvous
// hashing, Thaler and Ravishankar 1998), so that a list that is being written does not
// have addresses assigned now to the one and now to the other. While members carry an
// assignment out, one address after the other, it stays the same.
//
// An address that some members refuse goes to one of the others, even beyond its share.
// An address that all refuse is not assigned; nor is any without a member of a positive
// weight. An address that is given twice counts once.
func Assign(members []Share, addresses []netip.Addr, holder map[netip.Addr]string) map[netip.Addr]string {
	addresses = slices.Clone(addresses)
	limited := limited(members)
	slices.SortFunc(addresses, func(a, b netip.Addr) int {
		// An address that not every member can serve takes room first.
		return cmp.Or(number(limited[b])-number(limited[a]), a.Compare(b))
	})
	addresses = slices.Compact(addresses)
	shares, byName := quotas(members, len(addresses))
	if len(shares) == 0 {
		return map[netip.Addr]string{}
	}
	for _, a := range addresses {
		if q := byName[holder[a]]; q != nil {
			q.holds++
		}
	}
	roundUp(shares, len(addresses))
	assigned := make(map[netip.Addr]string, len(addresses))
	var free []netip.Addr
	for _, a := range addresses {
		if q := byName[holder[a]]; q != nil && q.count < q.due && !q.Refuses[a] {
			q.count++
			assigned[a] = q.Member
			continue
		}
		free = append(free, a)
	}
	for _, a := range free {
		if q := preferred(shares, a, holder[a]); q != nil {
			q.count++
			assigned[a] = q.Member
		}
	}
	return assigned
}

// quota is how many addresses a member is to have.
type quota struct {
	Share
	hash      uint64 // of the member's name
	due       int    // rounded down at first
	remainder int    // what the rounding has cut off, in parts of the sum of all weights
	holds     int    // how many the member has now
	count     int    // how many are assigned
}

// quotas returns the share of each member with a positive weight, by name, rounded down.
func quotas(members []Share, addresses int) ([]*quota, map[string]*quota) {
	var all []*quota
	byName := make(map[string]*quota, len(members))
	sum := 0
	for _, m := range members {
		if m.Weight > 0 && byName[m.Member] == nil {
			q := &quota{Share: m, hash: hash([]byte(m.Member))}
			all, byName[m.Member] = append(all, q), q
			sum += m.Weight
		}
	}
	slices.SortFunc(all, func(a, b *quota) int { return strings.Compare(a.Member, b.Member) })
	for _, q := range all {
		q.due, q.remainder = addresses*q.Weight/sum, addresses*q.Weight%sum
	}
	return all, byName
}

// roundUp raises as many shares by one as addresses are left. A member that holds more
// than its share comes first: each of these saves a move. The order of the others does
// not depend on what they hold, so that it stays the same while the assignment is
// carried out.
func roundUp(shares []*quota, addresses int) {
	left := addresses
	var candidates []*quota
	for _, q := range shares {
		left -= q.due
		if q.remainder > 0 {
			candidates = append(candidates, q)
		}
	}
	keeps := func(q *quota) int {
		if q.holds > q.due {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(candidates, func(a, b *quota) int {
		return cmp.Or(keeps(b)-keeps(a), b.remainder-a.remainder)
	})
	for _, q := range candidates[:left] {
		q.due++
	}
}

// limited returns the addresses that some member refuses.
func limited(members []Share) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, m := range members {
		for a, on := range m.Refuses {
			if on && m.Weight > 0 {
				all[a] = true
			}
		}
	}
	return all
}

// preferred returns the member to which a free address goes, nil if all refuse it: the one
// with room that the address prefers, or without room its holder, or else the one that it
// prefers.
func preferred(shares []*quota, a netip.Addr, holder string) *quota {
	address := hash(a.AsSlice())
	var best *quota
	var highest uint64
	for _, q := range shares {
		if q.Refuses[a] {
			continue
		}
		rank := mix(q.hash^address) >> 2
		if q.Member == holder {
			rank |= 1 << 62
		}
		if q.count < q.due {
			rank |= 1 << 63
		}
		if best == nil || rank > highest {
			best, highest = q, rank
		}
	}
	return best
}

// hash is FNV-1a of 64 bits, the same on all machines and in all versions.
func hash(text []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range text {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return mix(h)
}

// mix spreads each bit over all others: the finalizer of SplitMix64 (Steele, Lea and Flood
// 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
