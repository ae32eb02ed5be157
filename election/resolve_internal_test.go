package election

import (
	"fmt"
	"testing"
	"time"

	"berth/internal/etcdtest"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A candidate that withdraws after a former owner has vanished says so, unless that owner
// may still act: the next owner would wait for the whole lease of a member that never
// owned.
func TestACandidateThatWithdrawsHasAskedWhetherTheFormerOwnerIsGone(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	etcd, err := NewEtcd(Options{Endpoints: cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcd.Close() })
	c, err := etcd.client(0)
	if err != nil {
		t.Fatal(err)
	}
	living, err := c.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	const addresses = 50
	for lease, want := range map[clientv3.LeaseID]bool{living.ID: true, 12345: false} {
		m := &Member{Etcd: etcd, Prefix: "/x/", PoolPrefix: "/x/pool/", Name: "a", TTL: 6 * time.Second}
		m.Init()
		before := cluster.Member(0).Metric(t.Context(), `grpc_server_started_total{grpc_method="LeaseTimeToLive",grpc_service="etcdserverpb.Lease",grpc_type="unary"}`)
		done := make(chan bool)
		for i := range addresses {
			k := &candidate{m: m, Campaign: Campaign{Pool: true, Instance: fmt.Sprintf("192.0.2.%d", i)}}
			m.observer.mu.Lock()
			m.observer.queue(k.ref()).unconfirmed = []expiry{{lease: lease, member: "former", until: time.Now().Add(time.Minute)}}
			m.observer.mu.Unlock()
			go func() {
				k.resolve(t.Context(), &Term{ctx: t.Context()})
				done <- k.mustWait()
			}()
		}
		for range addresses {
			if got := <-done; got != want {
				t.Errorf("lease lives: %v; want the next owner to wait: %v, got %v", want, want, got)
			}
		}
		after := cluster.Member(0).Metric(t.Context(), `grpc_server_started_total{grpc_method="LeaseTimeToLive",grpc_service="etcdserverpb.Lease",grpc_type="unary"}`)
		var a, b int
		fmt.Sscan(before, &b)
		fmt.Sscan(after, &a)
		if n := a - b; n < 1 || n > addresses/10 {
			t.Errorf("want few requests about one lease, got %d (%q, %q)", n, before, after)
		}
	}
}
