package pool

import (
	"net/netip"
	"slices"

	"berth/election"
	"berth/vrrp"
)

// situation is what the keys of the pool say at one revision, as this member
// understands it.
type situation struct {
	known    bool // everything was read
	revision int64
	list     []vrrp.FloatingIP
	stands   bool // etcd has lost the list, and the last one stands
	members  []Share
	holder   map[netip.Addr]string
	own      map[netip.Addr]bool   // addresses whose key is that of this process
	assigned map[netip.Addr]string // the member of each address
	strays   []stray               // keys below ips/ and nodes/ without effect
	drained  bool                  // this member is
}

// assess derives the situation of the member name from the keys, with the list of the
// book, which has followed the keys.
func assess(name string, keys election.PoolKeys, b *book) situation {
	s := situation{known: true, revision: keys.Revision, list: b.list, stands: b.stands, holder: map[netip.Addr]string{}, own: map[netip.Addr]bool{},
		drained: keys.Drained[name]}
	for _, st := range b.strays {
		s.strays = append(s.strays, stray{"ips/" + st.key, st.reason})
	}
	for member, n := range keys.Nodes {
		v, err := parseNode(n.Value)
		switch {
		case err != nil:
			s.strays = append(s.strays, stray{"nodes/" + member, err.Error()})
		case keys.Drained[member]:
			// The member gives its addresses up when it reads the key; the assignment does not
			// wait for that.
		case b.stands && v.List != b.sum():
			// It has another list, or none.
		default:
			s.members = append(s.members, v.share(member))
		}
	}
	for text, h := range keys.Held {
		if a, err := netip.ParseAddr(text); err == nil {
			s.holder[a] = h.Member
			if h.Own {
				s.own[a] = true
			}
		}
	}
	addresses := make([]netip.Addr, len(s.list))
	for i, ip := range s.list {
		addresses[i] = ip.Addr()
	}
	s.assigned = Assign(s.members, addresses, s.holder)
	return s
}

// mine returns the addresses that are assigned to a member, in order.
func (s situation) mine(name string) []vrrp.FloatingIP {
	return slices.DeleteFunc(slices.Clone(s.list), func(ip vrrp.FloatingIP) bool { return s.assigned[ip.Addr()] != name })
}

// joined reports whether a member takes part that did not before.
func (s situation) joined(before situation) bool {
	return slices.ContainsFunc(s.members, func(m Share) bool {
		return !slices.ContainsFunc(before.members, func(b Share) bool { return b.Member == m.Member })
	})
}

// unserved counts the addresses that no member has.
func (s situation) unserved() int {
	n := 0
	for _, ip := range s.list {
		if s.holder[ip.Addr()] == "" {
			n++
		}
	}
	return n
}
