package heartbeat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"berth/vrrp"
)

// tied are three hosts with the same priority, each of which reaches the others over a
// network of its own with each; they see each other's datagrams one round after the other.
type tied struct {
	addr [3][3]netip.Addr // of the first on the network that it has with the second
	back [3]int
	live [3]bool
}

func (w *tied) facts(i int, now time.Time) facts {
	f := facts{now: now, dead: 3 * sec, priority: 10 + w.back[i], id: ID{byte(i)}}
	for j := range 3 {
		if j != i && w.live[j] {
			f.peers = append(f.peers, neighbour{name: fmt.Sprint(j), addr: w.addr[j][i], own: w.addr[i][j], heard: now, id: ID{byte(j)}, priority: 10 + w.back[j]})
		}
	}
	return f
}

// settle returns the owners when nothing changes any more. All hosts decide at once by
// what the others said in the round before, which is the worst order.
func (w *tied) settle(t *testing.T) (owners []int) {
	t.Helper()
	now := time.Now()
	for range 20 {
		next := w.back
		for i := range 3 {
			if w.live[i] {
				next[i] = w.facts(i, now).stepBack(10, w.back[i])
			}
		}
		if next == w.back {
			for i := range 3 {
				if w.live[i] && decide(w.facts(i, now)).state == vrrp.Master {
					owners = append(owners, i)
				}
			}
			return owners
		}
		w.back = next
	}
	t.Errorf("%v never settles", w.addr)
	return nil
}

// Three networks give each host two addresses: whichever numbers the networks and the
// hosts have, one host is the owner, also when one has died and come back.
func TestNoCircleOfTiesIsWithoutAnOwner(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	circles := 0
	for range 2000 {
		w := &tied{live: [3]bool{true, true, true}}
		nets := rng.Perm(3)
		for n, pair := range [][2]int{{0, 1}, {1, 2}, {2, 0}} {
			low := byte(1 + rng.IntN(2)) // and the other has the other
			w.addr[pair[0]][pair[1]] = netip.AddrFrom4([4]byte{10, 0, byte(nets[n]), low})
			w.addr[pair[1]][pair[0]] = netip.AddrFrom4([4]byte{10, 0, byte(nets[n]), 3 - low})
		}
		if owners := w.settle(t); len(owners) != 1 {
			t.Fatalf("%v: the owners are %v", w.addr, owners)
		}
		if w.back != [3]int{} {
			circles++
		}
		dead := rng.IntN(3)
		w.live[dead] = false
		if owners := w.settle(t); len(owners) != 1 {
			t.Fatalf("%v without %d: the owners are %v", w.addr, dead, owners)
		}
		if w.back[(dead+1)%3] != 0 || w.back[(dead+2)%3] != 0 {
			t.Fatalf("%v without %d: still behind by %v", w.addr, dead, w.back)
		}
		w.live[dead], w.back[dead] = true, 0
		if owners := w.settle(t); len(owners) != 1 {
			t.Fatalf("%v with %d again: the owners are %v", w.addr, dead, owners)
		}
	}
	if circles < 100 {
		t.Errorf("only %d circles", circles)
	}
}

func TestAHostWithOneAddressNeverStepsBackAndSaysNothing(t *testing.T) {
	now := time.Now()
	ip := netip.MustParseAddr
	f := facts{now: now, dead: 3 * sec, priority: 10, peers: []neighbour{
		{addr: ip("10.0.0.1"), own: ip("10.0.0.2"), heard: now, id: ID{1}, priority: 10},
		{addr: ip("10.0.0.3"), own: ip("10.0.0.2"), heard: now, id: ID{3}, priority: 10},
		{addr: ip("2001:db8::1"), own: ip("2001:db8::2"), heard: now, id: ID{4}, priority: 10},
	}}
	if back, err := f.stepBack(10, 0), f.ambiguity(10); back != 0 || err != nil {
		t.Errorf("steps back by %d, and says %v", back, err)
	}
	f.peers[1].own = ip("10.0.0.4")
	if err := f.ambiguity(10); err == nil || err.Error() != "this host is 10.0.0.2 to one of them and 10.0.0.4 to another" {
		t.Errorf("says %v", err)
	}
	f.peers[1].priority = 11 // no tie
	if err := f.ambiguity(10); err != nil {
		t.Errorf("says %v", err)
	}
	if back := (facts{now: now, dead: sec, peers: f.peers}).stepBack(255, 0); back != 0 {
		t.Errorf("steps back by %d behind the last priority", back)
	}
}
