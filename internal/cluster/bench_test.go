package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"berth/election"
	"berth/vrrp"
)

// thousand is a host among three with 1,000 instances.
func thousand(tb testing.TB) *host {
	h := newHost(tb, nil)
	h.etcd.change(func(k *election.ClusterKeys) {
		for i := range 1000 {
			a := fmt.Sprintf("10.0.%d.%d", i/250, i%250)
			k.Instances[a] = []election.Candidate{candidate("node1", int64(3*i+1), false, a+"/32"), candidate("node2", int64(3*i+2), true, a+"/32"), candidate("node3", int64(3*i+3), false, a+"/32")}
			if i%2 == 0 {
				k.Instances[a] = k.Instances[a][1:]
				h.becomes(a, vrrp.Master, "elected", "node2", int64(3*i+2))
				continue
			}
			h.becomes(a, vrrp.Backup, "another member is the owner", "node1", 0)
		}
		three := []string{"node1", "node2", "node3"}
		for _, name := range three {
			k.Members[name] = election.MemberKey{Value: []byte(`{"state":"able","mode":"elect"}`), Left: time.Second}
		}
	})
	return h
}

// BenchmarkView is a view of 1,000 addresses, after a change and without one.
func BenchmarkView(b *testing.B) {
	h := thousand(b)
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			h.View()
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			h.etcd.change(func(k *election.ClusterKeys) {})
			if v := h.View(); len(v.Addresses) != 1000 {
				b.Fatal(len(v.Addresses))
			}
		}
	})
}

// A view of 1,000 addresses costs below 5 ms, which BenchmarkView shows. Here its allocations
// are counted, because they do not depend on what else the machine does.
func TestAViewOfAThousandAddressesIsCheap(t *testing.T) {
	h := thousand(t)
	change := func() { h.etcd.change(func(k *election.ClusterKeys) {}) }
	alone := testing.AllocsPerRun(5, change)
	if n := testing.AllocsPerRun(5, func() { change(); h.View() }) - alone; n > 20_000 {
		t.Errorf("%.0f allocations after a change", n)
	}
	if n := testing.AllocsPerRun(5, func() { h.View() }); n > 50 {
		t.Errorf("%.0f allocations without a change", n)
	}
}
