package page_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/cluster"
)

// fakeCluster is what a server has of the cluster: a view that a test changes.
type fakeCluster struct {
	mu      sync.Mutex // guards what follows
	view    cluster.View
	next    int
	watches map[int]func()
}

func newCluster(v cluster.View) *fakeCluster {
	return &fakeCluster{view: v, watches: map[int]func(){}}
}

// View returns the view, as of now.
func (c *fakeCluster) View() cluster.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view
	v.Now = time.Now().UTC()
	return v
}

// Watch calls changed after each change.
func (c *fakeCluster) Watch(changed func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	id := c.next
	c.watches[id] = changed
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watches, id)
	}
}

// change changes the view. The lists of the former one stay as they are.
func (c *fakeCluster) change(f func(v *cluster.View)) {
	c.mu.Lock()
	v := c.view
	v.Members, v.Addresses, v.Moves = slices.Clone(v.Members), slices.Clone(v.Addresses), slices.Clone(v.Moves)
	f(&v)
	c.view = v
	watches := slices.Collect(maps.Values(c.watches))
	c.mu.Unlock()
	for _, changed := range watches {
		changed()
	}
}

// move gives an instance another owner.
func (c *fakeCluster) move(instance, owner string) {
	c.change(func(v *cluster.View) {
		at := time.Now().UTC()
		former := ""
		for i := range v.Addresses {
			if a := &v.Addresses[i]; a.Instance == instance {
				former, a.Owner, a.Since = a.Owner, owner, at
			}
		}
		m := cluster.Move{At: at, Instance: instance, Member: owner, State: "MASTER", From: former, Reason: "asked by an operator"}
		v.Moves = slices.Insert(v.Moves, 0, m)
	})
}

// threeMembers is the view that the tests of internal/cluster have, moved to the present.
func threeMembers(t *testing.T) cluster.View {
	t.Helper()
	text, err := os.ReadFile("../../internal/cluster/testdata/view.json")
	if err != nil {
		t.Fatal(err)
	}
	var v cluster.View
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	by := time.Since(v.Now)
	shift := func(at *time.Time) {
		if !at.IsZero() {
			*at = at.Add(by).UTC()
		}
	}
	shift(&v.Etcd.Since)
	for i := range v.Members {
		shift(&v.Members[i].Since)
		for j := range v.Members[i].Health {
			shift(&v.Members[i].Health[j].Since)
		}
	}
	for i := range v.Addresses {
		shift(&v.Addresses[i].Since)
	}
	for i := range v.Moves {
		shift(&v.Moves[i].At)
	}
	return v
}

// manyAddresses is a cluster of five members that share n addresses of a pool.
func manyAddresses(n int) cluster.View {
	now := time.Now().UTC()
	v := cluster.View{Prefix: "/berth/", This: "node1", Etcd: cluster.EtcdView{Used: true, Reachable: true, Since: now.Add(-time.Hour)},
		Members: []cluster.MemberView{}, Addresses: []cluster.AddressView{}, Moves: []cluster.Move{}}
	for i := range 5 {
		name := fmt.Sprintf("node%d", i+1)
		v.Members = append(v.Members, cluster.MemberView{Name: name, Here: i == 0, Version: "1.2.3", Mode: "elect", Since: now.Add(-time.Duration(i+1) * time.Hour),
			LeaseLeft: 5000, State: cluster.Able, Health: []cluster.HealthView{{Check: "tcp 127.0.0.1:6443", Healthy: true, Since: now.Add(-time.Hour)}}, Addresses: n / 5})
	}
	for i := range n {
		address := fmt.Sprintf("10.1.%d.%d", i/250, i%250+1)
		a := cluster.AddressView{Address: address + "/32", Instance: address, Kind: cluster.KindAdded, ID: "vip-" + address,
			Owner: fmt.Sprintf("node%d", i%5+1), Since: now.Add(-time.Duration(i) * time.Minute), LeaseLeft: 5000, Candidates: []string{"node1", "node2"}, CanFailover: true}
		if i%100 == 99 {
			a.Owner, a.Since, a.LeaseLeft, a.Candidates, a.Reason, a.CanFailover = "", time.Time{}, 0, []string{}, "no member can have it", false
		}
		v.Addresses = append(v.Addresses, a)
	}
	for i := range 20 {
		v.Moves = append(v.Moves, cluster.Move{At: now.Add(-time.Duration(i) * time.Minute), Instance: fmt.Sprintf("10.1.0.%d", i+1),
			Member: fmt.Sprintf("node%d", i%5+1), State: "MASTER", From: fmt.Sprintf("node%d", (i+1)%5+1), Reason: "the pool has moved it"})
	}
	return v
}
