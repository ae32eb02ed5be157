package heartbeat_test

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"berth/heartbeat"
	"berth/internal/condition"
)

func TestNothingIsToldBeforeTheHoldOffAndSilentPeersAreDeadAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil)
		defer a.stop()
		time.Sleep(3*time.Second + 100*time.Millisecond - 1)
		a.want("before", "")
		time.Sleep(time.Nanosecond)
		a.want("after", "192.0.2.10 MASTER 10 at 3.1s")
		if got := len(a.heard(lower)); got < 3 || got > 4 {
			t.Errorf("sent %d datagrams in the hold-off", got)
		}
		if got := a.codes(); !slices.Equal(got, []string{"heartbeat-peer-dead", "heartbeat-peer-dead"}) {
			time.Sleep(time.Second)
			if got = append(got, a.codes()...); !slices.Equal(got, []string{"heartbeat-peer-dead", "heartbeat-peer-dead"}) {
				t.Errorf("told %q", got)
			}
		}
	})
}

func TestAPeerIsDeadAtItsDeadlineAndHeardAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil)
		defer a.stop()
		time.Sleep(2 * time.Second)
		a.say(upper, beat(address, 5, peerID(upper))) // at 2 s
		time.Sleep(2 * time.Second)
		a.want("it is better", "192.0.2.10 BACKUP 10 at 3.1s")
		time.Sleep(time.Until(a.begun.Add(5*time.Second - 1)))
		a.want("a nanosecond before its deadline", "")
		time.Sleep(time.Nanosecond)
		a.want("at its deadline", "192.0.2.10 MASTER 10 at 5s")
		a.say(upper, beat(address, 20, peerID(upper)))
		a.want("worse now", "192.0.2.10 verify 10 at 5s")
		a.say(upper, beat(address, 10, peerID(upper)))
		a.want("a tie, and a higher address", "")
		a.say(lower, beat(address, 10, peerID(lower)))
		a.want("a tie, and a lower address", "192.0.2.10 BACKUP 10 at 5.000000002s")
		a.say(lower, beat(address, 255, peerID(lower)))
		a.want("it resigns", "192.0.2.10 MASTER 10 at 5.000000003s")
		time.Sleep(3*time.Second - 2)
		a.want("both die, one after the other", "192.0.2.10 verify 10 at 8.000000001s")
		time.Sleep(time.Second)
		a.want("the other", "192.0.2.10 verify 10 at 8.000000003s")
	})
}

func TestAWriteWaitsForTheDatagramsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil)
		defer a.stop()
		time.Sleep(4 * time.Second)
		a.told()
		// They are in the socket, and nobody was woken.
		a.world.mu.Lock()
		s := a.world.sockets[here]
		for range 100 {
			s.queue = append(s.queue, packet{alien, []byte("garbage")})
		}
		s.queue = append(s.queue, packet{lower, beat(address, 1, peerID(lower))})
		a.world.mu.Unlock()
		a.CatchUp(t.Context())
		if len(a.events) != 1 {
			t.Fatal("CatchUp returned before the datagram was judged")
		}
		a.want("judged", "192.0.2.10 BACKUP 10 at 4s")
	})
}

func TestAfterAStandstillItIsNotMASTERBeforeItCanHaveHeardItsPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil)
		defer a.stop()
		time.Sleep(4 * time.Second)
		a.told()
		a.codes()
		a.StandStill(3 * time.Second)
		a.CatchUp(t.Context())
		if len(a.events) != 1 {
			t.Fatal("a write would be permitted")
		}
		a.want("at once", "192.0.2.10 BACKUP 10 at 4s")
		time.Sleep(3*time.Second + 100*time.Millisecond)
		a.want("after the hold-off", "192.0.2.10 MASTER 10 at 7.1s")
		if got := a.codes(); len(got) != 1 || got[0] != "heartbeat-standstill" {
			t.Errorf("told %q", got)
		}
		a.StandStill(2*time.Second - time.Millisecond) // the peers still count on this host
		a.CatchUp(t.Context())
		a.want("a short one", "")
	})
}

func TestPriorityIsThatOfExoip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct{ is, by, want int }{{10, -1, 9}, {10, 1, 11}, {1, -1, 1}, {0, -1, 0}, {0, 1, 1}, {255, 1, 255}, {254, 1, 255}} {
			n := heartbeat.New(heartbeat.Options{Priority: row.is})
			if got := n.Prioritize(row.by); got != row.want {
				t.Errorf("%d by %d: got %d, want %d", row.is, row.by, got, row.want)
			}
		}
		a := play(t, nil)
		defer a.stop()
		time.Sleep(3500 * time.Millisecond)
		a.told()
		a.heard(lower)
		a.Prioritize(-1)
		a.want("a lower number", "192.0.2.10 priority 9 at 3.5s")
		time.Sleep(time.Nanosecond)
		if got := a.heard(lower); len(got) != 1 || !slices.Equal(got[0], beat(address, 9, serverID)) {
			t.Errorf("the peers were told % x at once", got)
		}
	})
}

func TestSeveralAddressesEachHaveAnOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		six := netip.MustParseAddr("2001:db8::10")
		a := play(t, func(o *heartbeat.Options) { o.Addresses = []netip.Addr{six, address, six} }, lower)
		defer a.stop()
		time.Sleep(3 * time.Second)
		a.say(lower, beat(six, 5, peerID(lower)))
		time.Sleep(time.Second)
		a.want("a peer that has one of them", "192.0.2.10 MASTER 10 at 3.1s\n2001:db8::10 BACKUP 10 at 3.1s")
		time.Sleep(time.Second)
		if got := a.codes(); !slices.Equal(got, []string{"heartbeat-peer-heard", "heartbeat-peer-partial"}) {
			t.Errorf("told %q", got)
		}
		if !a.Alive(six) || a.Alive(address) {
			t.Error("the peer lives about the IPv6 address alone")
		}
		got := a.heard(lower)
		if len(got) < 8 || !slices.Equal(got[0], beat(address, 10, serverID)) || !slices.Equal(got[1], beat(six, 10, serverID)) {
			t.Errorf("sent % x", got[:2])
		}
		states := a.Peers()
		if len(states) != 2 || states[0].Address != address || states[0].Alive || !states[0].Heard.IsZero() ||
			states[1].Address != six || !states[1].Alive || states[1].ID != peerID(lower) || states[1].Priority != 5 || states[1].Name != "10.0.0.1" {
			t.Errorf("got %+v", states)
		}
	})
}

func TestAPeerThatIsThisHostIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil, here, lower)
		defer a.stop()
		_ = a.world.sockets[here].Send(beat(address, 0, peerID(lower)), here, netip.AddrPortFrom(here, 12345))
		time.Sleep(4 * time.Second)
		a.want("it does not rank before itself", "192.0.2.10 MASTER 10 at 3.1s")
		if got := a.codes(); !slices.Contains(got, "heartbeat-peer-self") || slices.Contains(got, "heartbeat-peer-heard") {
			t.Errorf("told %q", got)
		}
		if states := a.Peers(); len(states) != 2 || states[0].Self || !states[1].Self {
			t.Errorf("got %+v", states)
		}
	})
}

func TestAHostThatIsNotAbleIsOwnerOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var able condition.Value
		able.Set(true, "")
		a := play(t, func(o *heartbeat.Options) { o.Able = &able })
		defer a.stop()
		time.Sleep(3500 * time.Millisecond)
		a.told()
		a.heard(lower)
		able.Set(false, "HTTP 500")
		a.want("not able", "192.0.2.10 BACKUP 255 at 3.5s")
		time.Sleep(time.Nanosecond)
		if got := a.heard(lower); len(got) != 1 || got[0][2] != 255 {
			t.Errorf("the peers were told % x at once", got)
		}
		able.Set(true, "")
		a.want("able", "192.0.2.10 MASTER 10 at 3.500000001s")
	})
}

func TestItResignsThreeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil)
		time.Sleep(4 * time.Second)
		a.cancel(errOver)
		<-a.done
		a.heard(upper)
		begun := time.Now()
		a.Resign(t.Context())
		if took := time.Since(begun); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		time.Sleep(time.Nanosecond)
		want := [][]byte{beat(address, 255, serverID), beat(address, 255, serverID), beat(address, 255, serverID)}
		if got := a.heard(upper); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("sent % x", got)
		}
		_ = a.Close()
	})
}

func TestPeersComeAndGoAndWatchersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil, lower)
		defer a.stop()
		changes := 0
		stop := a.Watch(func() { changes++ })
		a.say(lower, beat(address, 5, peerID(lower)))
		if changes != 1 {
			t.Errorf("told of %d changes, want 1: the peer lives", changes)
		}
		a.say(lower, beat(address, 5, peerID(lower)))
		if changes != 1 {
			t.Errorf("told of %d changes, want none by a repetition", changes)
		}
		time.Sleep(2 * time.Second)
		a.say(lower, beat(address, 5, peerID(lower)))
		time.Sleep(2 * time.Second)
		a.want("the peer is better", "192.0.2.10 BACKUP 10 at 3.1s")
		a.know(lower, upper)
		a.want("one more", "")
		a.know(upper)
		if got := a.told(); got == "" {
			t.Error("still BACKUP for a peer that is none any more")
		}
		a.say(lower, beat(address, 5, peerID(lower)))
		a.want("not heard any more", "")
		stop()
		was := changes
		a.know()
		if changes != was {
			t.Error("told after the end")
		}
		if len(a.Peers()) != 0 {
			t.Errorf("got %+v", a.Peers())
		}
	})
}

func TestHeartbeatsComeOncePerIntervalWithAJitterOfATenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := play(t, nil)
		defer a.stop()
		last, shortest, longest := time.Now(), time.Hour, time.Duration(0)
		a.heard(upper)
		for range 200 {
			<-a.others[upper].ready
			a.heard(upper)
			if gap := time.Since(last); gap > 0 {
				shortest, longest = min(shortest, gap), max(longest, gap)
			}
			last = time.Now()
		}
		if shortest < 900*time.Millisecond-1 || shortest > 920*time.Millisecond || longest > 1100*time.Millisecond+1 || longest < 1080*time.Millisecond {
			t.Errorf("gaps of %v to %v", shortest, longest)
		}
	})
}
