package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/cluster"
	"berth/internal/journal"
	"berth/internal/status"
	"berth/vrrp"
)

var (
	errOver = errors.New("test is over")
	errDown = errors.New("http://127.0.0.1:2379: connection refused")
)

// etcd is the member of this host, as far as the view needs one.
type etcd struct {
	mu      sync.Mutex
	keys    election.ClusterKeys
	known   bool
	down    error
	changed chan struct{}
	asked   int // calls of Cluster
}

func newEtcd() *etcd {
	return &etcd{known: true, changed: make(chan struct{}), keys: election.ClusterKeys{Revision: 1, Members: map[string]election.MemberKey{}, Instances: map[string][]election.Candidate{}}}
}

func (e *etcd) Cluster() (election.ClusterKeys, bool, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	return e.keys, e.known, e.changed
}

func (e *etcd) Reach() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.down
}

// change puts other keys in the place of those that there are.
func (e *etcd) change(change func(k *election.ClusterKeys)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.keys
	k.Members, k.Instances = map[string]election.MemberKey{}, map[string][]election.Candidate{}
	for n, m := range e.keys.Members {
		k.Members[n] = m
	}
	for n, q := range e.keys.Instances {
		k.Instances[n] = q
	}
	change(&k)
	k.Revision++
	e.keys = k
	close(e.changed)
	e.changed = make(chan struct{})
}

// lose has etcd not answer, for a reason, or, for nil, answer again.
func (e *etcd) lose(why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = why
}

// end ends the lease of a member: everything under it goes in one revision.
func (e *etcd) end(member string) {
	e.change(func(k *election.ClusterKeys) {
		delete(k.Members, member)
		for name, queue := range k.Instances {
			var rest []election.Candidate
			for _, c := range queue {
				if c.Member != member {
					rest = append(rest, c)
				}
			}
			if k.Instances[name] = rest; len(rest) == 0 {
				delete(k.Instances, name)
			}
		}
	})
}

func telling(t testing.TB, told cluster.Told) election.MemberKey {
	t.Helper()
	text, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	return election.MemberKey{Value: text, Left: 5 * time.Second}
}

func candidate(member string, token int64, own bool, addresses ...string) election.Candidate {
	return election.Candidate{Member: member, Token: token, Own: own, Addresses: addresses, Left: 4 * time.Second, Since: time.Now().UTC().Add(-time.Hour)}
}

// host is this host, node2, with a board.
type host struct {
	*cluster.Cluster
	etcd  *etcd
	board *status.Board
	local *cluster.Local
}

func newHost(t testing.TB, change func(o *cluster.Options)) *host {
	h := &host{etcd: newEtcd(), board: newBoard(t), local: cluster.NewLocal(cluster.LocalOptions{Member: "node2", Version: "1.2.3", Mode: "elect"})}
	h.local.Follow(h.board)
	o := cluster.Options{Local: h.local, Source: h.etcd, Prefix: "/berth/"}
	if change != nil {
		change(&o)
	}
	h.Cluster = cluster.New(o)
	return h
}

func newBoard(t testing.TB) *status.Board {
	return status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil))
}

// run has the cluster observe until the test ends.
func (h *host) run(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel(errOver)
		if err := <-done; !errors.Is(err, errOver) {
			t.Errorf("got %v, want the cause", err)
		}
	})
}

// becomes has this host be in a state, as a campaign tells it.
func (h *host) becomes(instance string, s vrrp.State, reason, owner string, token int64) {
	h.board.State(instance, status.State{State: s, Reason: reason})
	o := status.Ownership{Owner: owner, Token: token}
	if s == vrrp.Fault {
		o.Withheld = reason
	}
	h.board.Ownership(instance, o)
}

func address(t testing.TB, v cluster.View, text string) cluster.AddressView {
	t.Helper()
	for _, a := range v.Addresses {
		if a.Address == text {
			return a
		}
	}
	t.Fatalf("%s is not among %+v", text, v.Addresses)
	return cluster.AddressView{}
}

func member(t testing.TB, v cluster.View, name string) cluster.MemberView {
	t.Helper()
	for _, m := range v.Members {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("%s is not among %+v", name, v.Members)
	return cluster.MemberView{}
}
