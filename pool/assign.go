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
}

// Assign returns the member to which each address is assigned. It depends on nothing but
// its arguments, and not on their order.
//
// A member gets its share of the addresses, in proportion to its weight, rounded up or
// down. Among the assignments for which that is true, it is one with the fewest moves: an
// address stays with its holder unless the holder has more than its share. The addresses
// that have no holder among the members fill up the shares. While members carry an
// assignment out, one address after the other, it stays the same.
//
// Without a member of a positive weight nothing is assigned. An address that is given
// twice counts once.
func Assign(members []Share, addresses []netip.Addr, holder map[netip.Addr]string) map[netip.Addr]string {
	addresses = slices.Clone(addresses)
	slices.SortFunc(addresses, netip.Addr.Compare)
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
		if q := byName[holder[a]]; q != nil && q.count < q.due {
			q.count++
			assigned[a] = q.Member
			continue
		}
		free = append(free, a)
	}
	for _, a := range free {
		q := preferred(shares, a)
		q.count++
		assigned[a] = q.Member
	}
	return assigned
}

// preferred returns the member that gets an address without a holder: the first in an
// order of the address' own (rendezvous hashing) that has not its share yet. When the
// list grows, or members begin one after the other, most of these addresses stay with
// their member: what is being carried out already is not in vain.
func preferred(shares []*quota, a netip.Addr) (first *quota) {
	var most uint64
	for _, q := range shares {
		if n := affinity(a, q.Member); q.count < q.due && (first == nil || n > most) {
			first, most = q, n
		}
	}
	return first
}

// affinity is a number for a pair, which is the same on all members: FNV-1a, and then the
// finalizer of MurmurHash3, without which the highest bits of similar names are similar.
func affinity(a netip.Addr, member string) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range a.As16() {
		h = (h ^ uint64(b)) * 1099511628211
	}
	for i := range len(member) {
		h = (h ^ uint64(member[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// quota is how many addresses a member is to have.
type quota struct {
	Share
	due       int // rounded down at first
	remainder int // what the rounding has cut off, in parts of the sum of all weights
	holds     int // how many the member has now
	count     int // how many are assigned
}

// quotas returns the share of each member with a positive weight, by name, rounded down.
func quotas(members []Share, addresses int) ([]*quota, map[string]*quota) {
	var all []*quota
	byName := make(map[string]*quota, len(members))
	sum := 0
	for _, m := range members {
		if m.Weight > 0 && byName[m.Member] == nil {
			q := &quota{Share: m}
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
