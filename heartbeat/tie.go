package heartbeat

import (
	"fmt"
	"net/netip"
)

// A host that has one address for some peers and another for others can close a circle of
// ties: it ranks before the first, the first before the second, and the second before it,
// so that each hears a peer that ranks before it, and none is MASTER. Such a host alone
// can see that, and only its priority can tell the others: it steps back behind those with
// whom it is tied, one number at a time.

// stepBack returns by how much this host ranks behind its priority. base is its priority,
// and back what was returned before: a host that has stepped back stays there while two of
// those live with whom it was tied, because it would close the circle again.
func (f facts) stepBack(base, back int) int {
	var before, behind []netip.Addr // those with whom it is tied now
	tied := 0
	for _, p := range f.peers {
		if !p.lives(f.now, f.dead) || p.priority < base || p.priority > base+back {
			continue
		}
		tied++
		theirs, ours := f.pair(p)
		switch order := theirs.Compare(ours); {
		case p.priority != base+back || !ours.IsValid():
		case order < 0:
			before = append(before, theirs)
		case order > 0:
			behind = append(behind, theirs)
		}
	}
	if tied < 2 {
		return 0
	}
	for _, first := range behind {
		for _, second := range before {
			if first.Is4() == second.Is4() && first.Less(second) && base+back < worst {
				return back + 1
			}
		}
	}
	return back
}

// ambiguity returns an error while living peers that are tied with this host, or were
// before it stepped back, know it by several addresses of one family.
func (f facts) ambiguity(base int) error {
	var seen [2]netip.Addr // of each family
	for _, p := range f.peers {
		if p.priority < base || p.priority > f.priority || !p.lives(f.now, f.dead) || !p.own.IsValid() {
			continue
		}
		family := &seen[0]
		if p.own.Is6() {
			family = &seen[1]
		}
		if family.IsValid() && *family != p.own {
			return fmt.Errorf("this host is %v to one of them and %v to another", *family, p.own)
		}
		*family = p.own
	}
	return nil
}
