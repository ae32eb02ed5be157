package heartbeat

import (
	"fmt"
	"net/netip"
	"time"

	"berth/vrrp"
)

// slack is how much longer than the dead time a host waits after its start. It is that of
// exoip.
const slack = 100 * time.Millisecond

// worst is the priority that ranks behind all others.
const worst = 255

// facts are all that a decision about one address follows from.
type facts struct {
	now      time.Time
	dead     time.Duration // a peer that was silent for that long is dead
	hold     hold
	unable   string // why this host can be the owner of nothing, "" if it can
	priority int    // as this host tells it
	id       ID
	peers    []neighbour
}

// hold is a time in which a host is not MASTER, because it cannot know its peers yet.
type hold struct {
	until time.Time
	// reason is "" for the hold-off after the start, during which no state is told.
	reason string
}

// neighbour is a peer as one address is concerned.
type neighbour struct {
	name string     // for people
	addr netip.Addr // the source of its datagrams
	own  netip.Addr // the address of this host to which it sends; invalid while unknown
	// The rest is what it said last; heard is zero if it was never heard.
	heard    time.Time
	id       ID
	priority int
}

// lives reports whether a peer was heard in time. Its deadline itself is too late.
func (n neighbour) lives(now time.Time, dead time.Duration) bool {
	return !n.heard.IsZero() && now.Before(n.heard.Add(dead))
}

// verdict is what is decided about an address.
type verdict struct {
	state  vrrp.State // Unknown while none is told
	reason string
	next   time.Time // when time alone can change it, zero for never
}

// decide returns the state of this host for one address.
func decide(f facts) verdict {
	switch {
	case f.now.Before(f.hold.until) && f.hold.reason == "":
		return verdict{vrrp.Unknown, "", f.hold.until}
	case f.now.Before(f.hold.until):
		return verdict{vrrp.Backup, f.hold.reason, f.hold.until}
	case f.unable != "":
		return verdict{vrrp.Backup, "this host is not able to be the owner: " + f.unable, time.Time{}}
	}
	v := verdict{state: vrrp.Master, reason: "no living peer ranks before this host"}
	for _, p := range f.peers {
		if !p.lives(f.now, f.dead) {
			continue
		}
		if end := p.heard.Add(f.dead); v.next.IsZero() || end.Before(v.next) {
			v.next = end
		}
		if why := f.before(p); why != "" && v.state == vrrp.Master {
			v.state, v.reason = vrrp.Backup, why
		}
	}
	return v
}

// before returns why a living peer ranks before this host, "" if it does not. Both sides
// compare the same values, so that exactly one of them ranks before the other.
func (f facts) before(p neighbour) string {
	switch {
	case p.priority < f.priority:
		return fmt.Sprintf("the peer %s has the better priority, %d against %d", p.name, p.priority, f.priority)
	case p.priority > f.priority:
		return ""
	}
	theirs, ours := f.pair(p)
	order := 0
	if ours.IsValid() {
		order = theirs.Compare(ours)
	}
	switch {
	case order < 0:
		return fmt.Sprintf("the peer %s has the same priority %d and the lower address, %v against %v", p.name, p.priority, theirs, ours)
	case order == 0 && string(p.id[:]) < string(f.id[:]):
		return fmt.Sprintf("the peer %s has the same priority %d and the lower id", p.name, p.priority)
	}
	return ""
}

// pair returns the addresses by which a tie with a peer is decided: its own, and that of
// this host towards it. A peer that is known by several addresses, such as one of each
// family, is compared by the pair with the lowest address among all of them, whichever of
// its addresses is heard: that is the same pair on both sides.
func (f facts) pair(p neighbour) (theirs, ours netip.Addr) {
	theirs, ours = p.addr, p.own
	for _, o := range f.peers {
		if o.heard.IsZero() || o.id != p.id || !o.own.IsValid() {
			continue
		}
		if !ours.IsValid() || lower(o.addr, o.own).Less(lower(theirs, ours)) {
			theirs, ours = o.addr, o.own
		}
	}
	return theirs, ours
}

func lower(a, b netip.Addr) netip.Addr {
	if b.Less(a) {
		return b
	}
	return a
}
