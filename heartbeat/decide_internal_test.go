package heartbeat

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/vrrp"
)

const sec = time.Second

func TestDecisions(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	ip := netip.MustParseAddr
	low, mid, high := ID{1}, ID{2}, ID{3}
	// peer returns one at 10.0.0.1, below this host, that was heard a second ago.
	peer := func(change func(*neighbour)) neighbour {
		n := neighbour{name: "p", addr: ip("10.0.0.1"), own: ip("10.0.0.2"), heard: ago(sec), id: mid, priority: 10}
		change(&n)
		return n
	}
	after := func(p int) func(*neighbour) { return func(n *neighbour) { n.priority = p } }
	for name, row := range map[string]struct {
		change func(*facts)
		peers  []neighbour
		state  vrrp.State
		reason string
		next   time.Duration // from now, 0 for never
	}{
		"no peers":                              {state: vrrp.Master, reason: "no living peer"},
		"a peer was never heard":                {peers: []neighbour{peer(func(n *neighbour) { n.heard = time.Time{}; n.priority = 0 })}, state: vrrp.Master},
		"a better peer":                         {peers: []neighbour{peer(after(9))}, state: vrrp.Backup, reason: "the better priority, 9 against 10", next: 2 * sec},
		"a worse peer":                          {peers: []neighbour{peer(after(11))}, state: vrrp.Master, next: 2 * sec},
		"a tie, the peer has the lower address": {peers: []neighbour{peer(after(10))}, state: vrrp.Backup, reason: "10.0.0.1 against 10.0.0.2", next: 2 * sec},
		"a tie, this host has it":               {peers: []neighbour{peer(func(n *neighbour) { n.addr = ip("10.0.0.3") })}, state: vrrp.Master, next: 2 * sec},
		"addresses are numbers":                 {peers: []neighbour{peer(func(n *neighbour) { n.addr, n.own = ip("10.0.0.10"), ip("10.0.0.9") })}, state: vrrp.Master, next: 2 * sec},
		"a tie over IPv6":                       {peers: []neighbour{peer(func(n *neighbour) { n.addr, n.own = ip("2001:db8::1"), ip("2001:db8::2") })}, state: vrrp.Backup, next: 2 * sec},
		"one address, the peer has the lower id": {
			peers: []neighbour{peer(func(n *neighbour) { n.addr, n.id = n.own, low })}, state: vrrp.Backup, reason: "the lower id", next: 2 * sec},
		"one address, this host has the lower id": {
			peers: []neighbour{peer(func(n *neighbour) { n.addr, n.id = n.own, high })}, state: vrrp.Master, next: 2 * sec},
		"the own address is unknown, the id decides": {
			peers: []neighbour{peer(func(n *neighbour) { n.own, n.id = netip.Addr{}, high })}, state: vrrp.Master, next: 2 * sec},
		"the deadline itself is too late": {peers: []neighbour{peer(func(n *neighbour) { n.priority, n.heard = 0, ago(3*sec) })}, state: vrrp.Master},
		"a nanosecond before the deadline": {
			peers: []neighbour{peer(func(n *neighbour) { n.priority, n.heard = 0, ago(3*sec-1) })}, state: vrrp.Backup, next: 1},
		"the first deadline of several counts": {
			peers: []neighbour{peer(after(9)), peer(func(n *neighbour) { n.priority, n.heard = 9, ago(2*sec) })}, state: vrrp.Backup, next: sec},
		"the peer resigned and is still the best": {change: func(f *facts) { f.priority = 255 },
			peers: []neighbour{peer(after(255))}, state: vrrp.Backup, next: 2 * sec},
		"the peer resigned": {peers: []neighbour{peer(after(255))}, state: vrrp.Master, next: 2 * sec},
		"hold-off":          {change: func(f *facts) { f.hold.until = now.Add(1) }, state: vrrp.Unknown, next: 1},
		"hold-off is over":  {change: func(f *facts) { f.hold.until = now }, state: vrrp.Master},
		"after a standstill": {change: func(f *facts) { f.hold = hold{now.Add(sec), "it did not run"} },
			state: vrrp.Backup, reason: "it did not run", next: sec},
		"not able":                   {change: func(f *facts) { f.unable = "HTTP 500"; f.priority = 255 }, state: vrrp.Backup, reason: "HTTP 500"},
		"not able, in the hold-off":  {change: func(f *facts) { f.unable = "HTTP 500"; f.hold.until = now.Add(1) }, state: vrrp.Unknown, next: 1},
		"not able and a worse peer":  {change: func(f *facts) { f.unable = "HTTP 500"; f.priority = 255 }, peers: []neighbour{peer(after(255))}, state: vrrp.Backup},
		"a dead one is no neighbour": {peers: []neighbour{peer(func(n *neighbour) { n.priority, n.heard = 9, ago(time.Hour) })}, state: vrrp.Master},
		// Both hosts are known to each other by an address of each family, and IPv6 alone
		// would say the contrary.
		"both families, the peer has the lower IPv4 address": {
			peers: []neighbour{peer(func(*neighbour) {}), peer(func(n *neighbour) { n.addr, n.own = ip("2001:db8::9"), ip("2001:db8::2") })},
			state: vrrp.Backup, next: 2 * sec},
		"both families, this host has the lower IPv4 address": {
			peers: []neighbour{peer(func(n *neighbour) { n.addr, n.own = ip("10.0.0.2"), ip("10.0.0.1") }), peer(func(n *neighbour) { n.addr, n.own = ip("2001:db8::1"), ip("2001:db8::2") })},
			state: vrrp.Master, next: 2 * sec},
		"both families, IPv4 is silent": {
			peers: []neighbour{peer(func(n *neighbour) { n.addr, n.own, n.heard = ip("10.0.0.2"), ip("10.0.0.1"), ago(time.Hour) }), peer(func(n *neighbour) { n.addr, n.own = ip("2001:db8::1"), ip("2001:db8::2") })},
			state: vrrp.Master, next: 2 * sec},
	} {
		f := facts{now: now, dead: 3 * sec, priority: 10, id: mid, peers: row.peers}
		if row.change != nil {
			row.change(&f)
		}
		v := decide(f)
		if v.state != row.state || !strings.Contains(v.reason, row.reason) {
			t.Errorf("%s: got %v because of %q, want %v because of %q", name, v.state, v.reason, row.state, row.reason)
		}
		next := time.Duration(0)
		if !v.next.IsZero() {
			next = v.next.Sub(now)
		}
		if next != row.next {
			t.Errorf("%s: next decision after %v, want %v", name, next, row.next)
		}
	}
}

// Two hosts that hear each other compare the same values: one ranks before the other,
// whatever they are.
func TestOneOfTwoRanksBeforeTheOther(t *testing.T) {
	addresses := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.10")}
	for _, a := range addresses {
		for _, b := range addresses {
			for _, pa := range []int{0, 10, 255} {
				for _, pb := range []int{0, 10, 255} {
					for _, ids := range [][2]ID{{{1}, {2}}, {{2}, {1}}} {
						first := facts{priority: pa, id: ids[0]}.before(neighbour{addr: b, own: a, id: ids[1], priority: pb})
						second := facts{priority: pb, id: ids[1]}.before(neighbour{addr: a, own: b, id: ids[0], priority: pa})
						if (first == "") == (second == "") {
							t.Errorf("%v %d %v and %v %d %v: %q, %q", a, pa, ids[0], b, pb, ids[1], first, second)
						}
					}
				}
			}
		}
	}
}
