package cluster_test

import (
	"testing"
	"testing/synctest"

	"berth/election"
	"berth/internal/cluster"
)

// An owner writes what it gives up in the revision in which it gives it up, before its own
// key goes.
func TestAMoveSaysHowTheFormerOwnerEnded(t *testing.T) {
	for _, row := range []struct {
		name     string
		released int64
		stays    bool
		want     string
	}{
		{"a member that was stopped", 10, false, "handed over by node1"},
		{"a member that hands over and stays", 10, true, "handed over by node1"},
		{"a member that died", 0, false, "the lease of node1 ended"},
		{"a member that died and gave up another term before", 7, false, "the lease of node1 ended"},
		{"a member that is back with another lease", 0, true, "node1 lost its key in etcd"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(t, nil)
				owned := func(member string, token, released int64) {
					h.etcd.change(func(k *election.ClusterKeys) {
						k.Instances["api"] = []election.Candidate{candidate(member, token, false, "192.0.2.10/32")}
						k.Released = map[string]int64{"api": released}
						k.Pool = &election.PoolKeys{IPs: []string{"198.51.100.7"}, Held: map[string]election.PoolHolder{"198.51.100.7": {Member: member, Token: token, Released: released}}}
						k.Members["node3"] = telling(t, cluster.Told{})
						if k.Members["node1"] = telling(t, cluster.Told{}); member != "node1" && !row.stays {
							delete(k.Members, "node1")
						}
					})
				}
				owned("node1", 10, 7)
				h.run(t)
				synctest.Wait()
				owned("node3", 12, row.released)
				moves := h.View().Moves
				if len(moves) != 2 {
					t.Fatalf("want a move of the instance and one of the pool's address, got %+v", moves)
				}
				for _, m := range moves {
					if m.From != "node1" || m.Member != "node3" || m.Reason != row.want {
						t.Errorf("want %q, got %+v", row.want, m)
					}
				}
			})
		})
	}
}

// A member that puts its keys again under another lease has had the addresses all the while.
func TestAnAddressOfThePoolThatItsMemberTakesAgainIsNoMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, nil)
		held := func(token int64) {
			h.etcd.change(func(k *election.ClusterKeys) {
				k.Pool = &election.PoolKeys{IPs: []string{"198.51.100.7"}, Held: map[string]election.PoolHolder{"198.51.100.7": {Member: "node1", Token: token}}}
			})
		}
		held(10)
		h.run(t)
		synctest.Wait()
		held(12)
		if v := h.View(); len(v.Moves) != 0 {
			t.Errorf("got %+v", v.Moves)
		}
		h.etcd.change(func(k *election.ClusterKeys) { k.Pool = &election.PoolKeys{IPs: k.Pool.IPs} })
		h.View()
		h.etcd.change(func(k *election.ClusterKeys) {
			k.Pool = &election.PoolKeys{IPs: k.Pool.IPs, Held: map[string]election.PoolHolder{"198.51.100.7": {Member: "node3", Token: 14, Released: 12}}}
		})
		if v := h.View(); len(v.Moves) != 1 || v.Moves[0].Reason != "handed over by node1" {
			t.Errorf("after it has given its second key up: %+v", v.Moves)
		}
	})
}
