package cluster_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/cluster"
	"berth/internal/status"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

// three is a cluster in which node1 owns api, this host the added address, and node3 is
// not able.
func three(t testing.TB, h *host) {
	h.etcd.change(func(k *election.ClusterKeys) {
		k.Members["node1"] = telling(t, cluster.Told{Version: "1.2.3", Since: time.Now(), Mode: "elect", State: cluster.Able,
			Instances: []cluster.ToldInstance{{Instance: "api", State: "MASTER", Since: time.Now().Add(-time.Minute)}}})
		k.Members["node2"] = telling(t, cluster.Told{Version: "1.2.2", Mode: "elect", State: cluster.Able})
		k.Members["node3"] = telling(t, cluster.Told{Version: "1.2.3", Since: time.Now(), Mode: "elect", State: cluster.NotAble, Reason: "tcp db:5432: connection refused",
			Health:    []cluster.HealthView{{Check: "tcp db:5432", Reason: "connection refused", Since: time.Now()}},
			Instances: []cluster.ToldInstance{{Instance: "db", State: "FAULT", Reason: "tcp db:5432: connection refused", Addresses: []string{"192.0.2.30/32"}}}})
		k.Instances["api"] = []election.Candidate{candidate("node1", 10, false, "192.0.2.10/32", "2001:db8::10/128"), candidate("node2", 11, true, "192.0.2.10/32", "2001:db8::10/128")}
		k.Instances["192.0.2.20"] = []election.Candidate{candidate("node2", 12, true, "192.0.2.20/32")}
	})
	h.becomes("api", vrrp.Backup, "another member is the owner", "node1", 0)
	h.becomes("192.0.2.20", vrrp.Master, "elected", "node2", 12)
}

func TestTheViewHasEveryAddressAndEveryMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Pool = &election.PoolKeys{IPs: []string{"198.51.100.7", "198.51.100.8"},
				Nodes: map[string]election.PoolNode{"node1": {Value: []byte(`{"member":"node1","weight":1}`)}},
				Held:  map[string]election.PoolHolder{"198.51.100.7": {Member: "node1"}}, Drained: map[string]bool{"node3": true}}
		})
		v := h.View()
		if v.This != "node2" || v.Prefix != "/berth/" || !v.Etcd.Used || !v.Etcd.Reachable || v.Note != "" || !v.Now.Equal(time.Now()) {
			t.Errorf("got %+v", v)
		}
		now := time.Now().UTC()
		want := []cluster.AddressView{
			{Address: "192.0.2.10/32", Instance: "api", Kind: "election", Owner: "node1", Since: now.Add(-time.Minute), LeaseLeft: 5000, Candidates: []string{"node1", "node2"}, CanFailover: true},
			{Address: "192.0.2.20/32", Instance: "192.0.2.20", Kind: "added", ID: "vip-192.0.2.20", Owner: "node2", Since: now, LeaseLeft: 5000, Candidates: []string{"node2"}},
			{Address: "192.0.2.30/32", Instance: "db", Kind: "election", Candidates: []string{}, Reason: "node3: tcp db:5432: connection refused"},
			{Address: "198.51.100.7/32", Instance: "pool", Kind: "pool", ID: "vip-198.51.100.7", Owner: "node1", LeaseLeft: 5000, Assigned: "node1", Candidates: []string{"node1"}},
			{Address: "198.51.100.8/32", Instance: "pool", Kind: "pool", ID: "vip-198.51.100.8", Assigned: "node1", Candidates: []string{"node1"}, Reason: "waiting for node1"},
			{Address: "2001:db8::10/128", Instance: "api", Kind: "election", Owner: "node1", Since: now.Add(-time.Minute), LeaseLeft: 5000, Candidates: []string{"node1", "node2"}, CanFailover: true},
		}
		if d := cmp.Diff(want, v.Addresses); d != "" {
			t.Errorf("addresses (-want +got):\n%s", d)
		}
		members := []cluster.MemberView{
			{Name: "node1", Version: "1.2.3", Mode: "elect", Since: now, LeaseLeft: 5000, Health: []cluster.HealthView{}, State: "able", Addresses: 3},
			{Name: "node2", Here: true, Version: "1.2.3", Mode: "elect", Since: now, LeaseLeft: 5000, Health: []cluster.HealthView{}, State: "able", Addresses: 1},
			{Name: "node3", Version: "1.2.3", Mode: "elect", Since: now, LeaseLeft: 5000, State: "drained", Reason: "tcp db:5432: connection refused",
				Health: []cluster.HealthView{{Check: "tcp db:5432", Reason: "connection refused", Since: now}}},
		}
		if d := cmp.Diff(members, v.Members); d != "" {
			t.Errorf("members (-want +got):\n%s", d)
		}
	})
}

func TestAMemberThatHasGoneStaysForTenMinutesWithWhatWasKnownOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.run(t)
		synctest.Wait()
		time.Sleep(time.Second)
		h.etcd.end("node3")
		died := time.Now().UTC()
		time.Sleep(9 * time.Minute)
		m := member(t, h.View(), "node3")
		if !m.Gone || m.State != "gone" || m.LeaseLeft != 0 || len(m.Health) != 1 || m.Version != "1.2.3" || m.Since.Sub(died) > time.Second {
			t.Errorf("got %+v", m)
		}
		if a := address(t, h.View(), "192.0.2.30/32"); a.Owner != "" || a.Reason != "node3: it is gone" || a.Instance != "db" || a.CanFailover {
			t.Errorf("the address that it alone had: %+v", a)
		}
		var told atomic.Int32
		defer h.Watch(func() { told.Add(1) })()
		time.Sleep(63 * time.Second)
		if v := h.View(); len(v.Members) != 2 || told.Load() != 1 || len(v.Addresses) != 3 {
			t.Errorf("after ten minutes: %+v, told %d times, want once", v.Members, told.Load())
		}
		h.etcd.end("node1")
		time.Sleep(time.Minute)
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Members["node1"] = telling(t, cluster.Told{State: cluster.Able, Version: "1.2.4"})
		})
		if m := member(t, h.View(), "node1"); m.Gone || m.State != "able" || m.Version != "1.2.4" {
			t.Errorf("a member that is back: %+v", m)
		}
	})
}

func TestTheMoveOfAKilledHostIsThereOnceWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.run(t)
		synctest.Wait()
		if v := h.View(); len(v.Moves) != 1 || v.Moves[0].Instance != "192.0.2.20" {
			t.Errorf("what was there at the start is no move, but for that of this host: %+v", v.Moves)
		}
		time.Sleep(time.Second)
		h.etcd.end("node1")
		time.Sleep(10 * time.Second)
		seen := h.View().Moves[0] // nobody has told of it yet
		if seen.Instance != "api" || seen.Member != "node2" || seen.From != "node1" || seen.Reason != "the lease of node1 ended" || seen.State != "MASTER" || seen.Token != 11 {
			t.Errorf("got %+v", seen)
		}
		k := tell(t, h.local)
		h.becomes("api", vrrp.Master, "elected", "node2", 11)
		synctest.Wait()
		if told := k.last(t).Moves[0]; told.Reason != seen.Reason || told.From != "node1" {
			t.Errorf("the others are told %+v, want the reason that this host saw", told)
		}
		v := h.View()
		if len(v.Moves) != 2 || v.Moves[0].Reason != seen.Reason || v.Moves[0].From != "node1" || v.Moves[0].At.Sub(seen.At) < 9*time.Second {
			t.Errorf("want one move, at the time when its member became the owner, got %+v", v.Moves)
		}
		if a := address(t, v, "192.0.2.10/32"); a.Owner != "node2" || a.CanFailover {
			t.Errorf("got %+v", a)
		}
	})
}

func TestAMoveIsNewestFirstAndToldWithItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.run(t)
		synctest.Wait()
		time.Sleep(time.Minute)
		h.etcd.change(func(k *election.ClusterKeys) { // node1 hands over
			k.Released = map[string]int64{"api": k.Instances["api"][0].Token}
			k.Instances["api"] = []election.Candidate{candidate("node3", 13, false, "192.0.2.10/32"), candidate("node1", 14, false, "192.0.2.10/32")}
			moves := []cluster.Move{{At: time.Now(), Instance: "api", Member: "someone else", State: "BACKUP", Reason: "handing over as asked"}, {State: "WONDERFUL"}}
			k.Members["node1"] = telling(t, cluster.Told{State: cluster.Able, Moves: moves})
		})
		time.Sleep(time.Second)
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Members["node3"] = telling(t, cluster.Told{State: cluster.Able, Moves: []cluster.Move{{At: time.Now().Add(-time.Second), Instance: "api", State: "MASTER", Reason: "elected", Token: 13, From: "node9"}}})
		})
		var got []string
		for _, m := range h.View().Moves {
			got = append(got, strings.Join([]string{m.Instance, m.Member, m.State, m.From, m.Reason}, "|"))
		}
		want := []string{"api|node1|BACKUP||handing over as asked", "api|node3|MASTER|node1|handed over by node1", "192.0.2.20|node2|MASTER||elected"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("moves (-want +got):\n%s", d)
		}
	})
}

func TestAProgramOtherThanBerthIsShownAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Instances["api"][0] = election.Candidate{Member: "lb9", Foreign: true, Token: 10}
		})
		h.run(t)
		synctest.Wait()
		v := h.View()
		i := slices.IndexFunc(v.Addresses, func(a cluster.AddressView) bool { return a.Instance == "api" })
		if a := v.Addresses[i]; a.Owner != "lb9" || a.Reason != "the owner is a program other than berth" || a.CanFailover {
			t.Errorf("got %+v", a)
		}
		i = slices.IndexFunc(v.Members, func(m cluster.MemberView) bool { return m.Name == "lb9" })
		if i < 0 || v.Members[i].Reason != "it is a program other than berth" {
			t.Errorf("got the members %+v", v.Members)
		}
	})
}

func TestAThousandAddressesOfThePoolThatMoveAtOnceAreOneMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		pool := func(member string) {
			h.etcd.change(func(k *election.ClusterKeys) {
				k.Pool = &election.PoolKeys{Nodes: map[string]election.PoolNode{member: {Value: []byte(`{"weight":1}`)}}, Held: map[string]election.PoolHolder{}}
				for i := range 200 {
					a := "10.0.0." + string(rune('0'+i%10)) + string(rune('0'+i/10%10))
					k.Pool.IPs = append(k.Pool.IPs, a)
					k.Pool.Held[a] = election.PoolHolder{Member: member}
				}
			})
		}
		pool("node1")
		h.run(t)
		synctest.Wait()
		pool("node3")
		v := h.View()
		if len(v.Moves) != 1 || v.Moves[0].Instance != "pool" || v.Moves[0].Reason != "100 addresses: the lease of node1 ended" {
			t.Errorf("got %+v", v.Moves)
		}
	})
}

func TestWithoutEtcdWhatThisHostKnowsIsCurrentAndTheRestIsLastKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.run(t)
		synctest.Wait()
		var told atomic.Int32
		defer h.Watch(func() { told.Add(1) })()
		h.etcd.lose(errDown)
		time.Sleep(2 * time.Second)
		v := h.View()
		if told.Load() != 1 || v.Etcd.Reachable || v.Etcd.Reason != errDown.Error() || time.Since(v.Etcd.Since) > 2*time.Second || !strings.Contains(v.Note, "as last known") {
			t.Errorf("told %d times: %+v, note %q", told.Load(), v.Etcd, v.Note)
		}
		if a := address(t, v, "192.0.2.10/32"); a.Owner != "node1" || !a.LastKnown || a.CanFailover {
			t.Errorf("that of another: %+v", a)
		}
		if a := address(t, v, "192.0.2.20/32"); a.Owner != "node2" || a.LastKnown {
			t.Errorf("that of this host: %+v", a)
		}
		h.becomes("192.0.2.20", vrrp.Fault, "etcd does not answer", "", 0)
		if a := address(t, h.View(), "192.0.2.20/32"); a.Owner != "" || a.LastKnown || a.Reason != "node2: etcd does not answer" {
			t.Errorf("this host has ended its term, but the view has %+v", a)
		}
		h.becomes("api", vrrp.Master, "etcd does not serve this host; acting without it", "node2", 0)
		if a := address(t, h.View(), "192.0.2.10/32"); a.Owner != "node2" || a.LastKnown || !strings.Contains(a.Reason, "acting without it") {
			t.Errorf("this host acts without etcd, but the view has %+v", a)
		}
		h.etcd.lose(nil)
		if v := h.View(); !v.Etcd.Reachable || v.Etcd.Reason != "" || v.Note != "" || address(t, v, "192.0.2.10/32").Owner != "node1" {
			t.Errorf("etcd answers again: %+v", v)
		}
	})
}

func TestBeforeEtcdHasAnsweredTheViewHasThisHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, func(o *cluster.Options) { o.PoolPrefix = "/berth/pool/" })
		h.etcd.known, h.etcd.down = false, errDown
		h.becomes("192.0.2.20", vrrp.Fault, "waiting for etcd", "", 0)
		h.becomes("pool", vrrp.Master, "acting without etcd", "node2", 0)
		h.board.Addresses("pool", []status.Address{{Address: "198.51.100.7/32"}})
		v := h.View()
		if v.Etcd.Reachable || !strings.Contains(v.Note, "has not answered this host yet") || len(v.Members) != 1 || !v.Members[0].Here {
			t.Errorf("got %+v", v)
		}
		if a := address(t, v, "192.0.2.20/32"); a.Owner != "" || a.Reason != "node2: waiting for etcd" {
			t.Errorf("got %+v", a)
		}
		if a := address(t, v, "198.51.100.7/32"); a.Owner != "node2" || a.Kind != "pool" {
			t.Errorf("got %+v", a)
		}
	})
}

func TestAHostWithoutAMemberIsAloneInItsView(t *testing.T) {
	for _, mode := range []string{"fifo", "elect"} {
		b := newBoard(t)
		l := cluster.NewLocal(cluster.LocalOptions{Member: "node2", Mode: mode, Addresses: func(in string) []string {
			return map[string][]string{"VI_2": {"192.0.2.22/24", "192.0.2.23/24"}}[in]
		}})
		c := cluster.New(cluster.Options{Local: l, Alone: "berth does not use etcd here"})
		b.State("VI_1", status.State{State: vrrp.Master})
		b.Addresses("VI_1", []status.Address{{Address: "192.0.2.21/32"}})
		l.Follow(b)
		b.State("VI_2", status.State{State: vrrp.Backup, Reason: "reported by keepalived"})
		v := c.View()
		if v.Etcd.Used || !v.Etcd.Reachable || v.Note != "berth does not use etcd here" || len(v.Members) != 1 || v.Members[0].Addresses != 1 {
			t.Errorf("got %+v", v)
		}
		kind := map[string]string{"fifo": "keepalived", "elect": "election"}[mode]
		if a := address(t, v, "192.0.2.21/32"); a.Owner != "node2" || a.Kind != kind || a.CanFailover || a.LastKnown {
			t.Errorf("got %+v", a)
		}
		if a := address(t, v, "192.0.2.23/24"); a.Owner != "" || a.Instance != "VI_2" || a.Reason != "node2: reported by keepalived" {
			t.Errorf("got %+v", a)
		}
	}
}

func TestChangesAreToldTogetherAndTheTimeOfALeaseIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.run(t)
		time.Sleep(time.Second)
		var told atomic.Int32
		stop := h.Watch(func() { told.Add(1) })
		for range 100 {
			three(t, h)
		}
		time.Sleep(time.Second)
		if told.Load() != 1 {
			t.Errorf("a burst was told %d times, want once", told.Load())
		}
		h.etcd.mu.Lock() // without a change that is told
		k := h.etcd.keys.Members["node1"]
		k.Left = 3 * time.Second
		h.etcd.keys.Members["node1"] = k
		asked := h.etcd.asked
		h.etcd.mu.Unlock()
		time.Sleep(time.Hour)
		if told.Load() != 1 || h.etcd.asked != asked {
			t.Errorf("told %d times, asked %d times: at rest nothing is to happen", told.Load(), h.etcd.asked-asked)
		}
		if m := member(t, h.View(), "node1"); m.LeaseLeft != 3000 {
			t.Errorf("got %+v", m)
		}
		stop()
		h.etcd.end("node3")
		time.Sleep(time.Second)
		if told.Load() != 1 {
			t.Error("told after stop")
		}
	})
}

func TestABrokenHistoryOfEtcdIsNoMoveAndNobodyHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		three(t, h)
		h.run(t)
		synctest.Wait()
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Era = 1
			k.Members, k.Instances = map[string]election.MemberKey{}, map[string][]election.Candidate{"api": {candidate("node3", 2, false, "192.0.2.10/32")}}
		})
		v := h.View()
		if len(v.Moves) != 1 || len(v.Members) != 2 {
			t.Errorf("got moves %+v and members %+v", v.Moves, v.Members)
		}
	})
}

func TestMovesOutliveTheProcessThatToldThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		before := cluster.Move{At: time.Now().Add(-time.Hour).UTC(), Instance: "api", Member: "node2", State: "MASTER", From: "node1", Reason: "the lease of node1 ended", Token: 3}
		mine := telling(t, cluster.Told{Moves: []cluster.Move{before}})
		mine.Own = true
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Members["node2"] = mine
			k.Members["node1"] = telling(t, cluster.Told{Moves: []cluster.Move{{At: time.Now(), Instance: "db", State: "FAULT", Reason: "db is down"}}})
		})
		k := &keyed{}
		ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
		done := make(chan error, 1)
		go func() { done <- h.local.Tell(ctx, k) }()
		synctest.Wait()
		if k.calls > 0 {
			t.Error("told before the value of the process before this one was read")
		}
		h.run(t)
		synctest.Wait()
		if d := cmp.Diff([]cluster.Move{before}, k.last(t).Moves); d != "" {
			t.Errorf("told after a restart (-want +got):\n%s", d)
		}
		h.etcd.change(func(k *election.ClusterKeys) { k.Members["node1"] = telling(t, cluster.Told{}) }) // it begins anew
		if moves := h.View().Moves; len(moves) != 2 || moves[0].Member != "node1" || moves[1] != before {
			t.Errorf("got %+v", moves)
		}
		cancel(errOver)
		<-done
	})
}

// Another host of the same name is not the process before this one.
func TestTheMovesOfAnotherHostOfTheSameNameAreNotInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Members["node2"] = telling(t, cluster.Told{Moves: []cluster.Move{{At: time.Now(), Instance: "api", State: "MASTER"}}})
		})
		k := &keyed{}
		h.run(t)
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
		done := make(chan error, 1)
		go func() { done <- h.local.Tell(ctx, k) }()
		synctest.Wait()
		if moves := k.last(t).Moves; len(moves) != 0 {
			t.Errorf("told %+v", moves)
		}
		cancel(errOver)
		<-done
	})
}
