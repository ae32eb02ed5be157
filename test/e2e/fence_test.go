package e2e_test

import (
	"net/netip"
	"os"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// fenced is a berth's configuration with a fence, whose lease lasts fenceTTL.
const (
	fenced = lab.Fast + `etcd: {endpoints: ["http://10.77.0.1:2379"], lease-ttl: 2s}
fencing: {enabled: true}
`
	fenceTTL = 2 * time.Second
)

func (f *field) etcd() *etcdtest.Cluster {
	f.t.Helper()
	binary, err := etcdtest.Binary()
	if err != nil {
		if os.Getenv(testnet.RequireEnv) == "1" {
			f.t.Fatal(err)
		}
		f.t.Skip(err)
	}
	c, err := f.StartEtcd(f.context(), binary)
	f.must(err)
	return c
}

// bothMaster waits until the keepalived of each host has the address.
func (f *field) bothMaster(ip netip.Addr) {
	f.t.Helper()
	for _, h := range f.Hosts {
		f.bound(h, ip, time.Time{})
	}
}

// Two hosts that do not hear each other are both MASTER. Only one of them may make
// requests to the provider, until it stops.
func TestSplitNetworkHasOneHostAtTheProvider(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.etcd()
		f.configure(f.host1, mode, fenced, instance4(150))
		f.configure(f.host2, mode, fenced, instance4(100))
		client := f.client(lab.IPv4a, lab.IPv4b)
		k1 := f.keepalived(f.host1)
		begin := time.Now()
		f.served(f.host1, begin, client...)
		f.standby(f.host2)

		split := time.Now()
		f.must(f.Split(true))
		f.bothMaster(lab.IPv4a)
		f.pass(2*fenceTTL, client[0])
		// Look-ups at the start, before a host was MASTER, do not count.
		if got := f.Requests(f.host2, split); len(got) > 0 {
			t.Errorf("want no request of host2 while host1 has the lease, got %v", got)
		}
		if len(f.Requests(f.host1, split)) == 0 {
			t.Error("want host1 to go on, got no request of it after the split")
		}
		f.served(f.host1, split, client...)

		stopped := time.Now()
		f.must(k1.Stop(f.context()))
		f.served(f.host2, stopped, client...)
		first := f.Requests(f.host2, split)[0]
		for _, r := range f.Requests(f.host1, stopped) {
			if r.Time.After(first.Time) {
				t.Errorf("want no request of host1 after the first of host2, got %s %s at %v", r.Method, r.Path, r.Time)
			}
		}
	})
}

// Both become MASTER at the same time, neither has the lease before.
func TestSplitNetworkFromTheStartHasOneHostAtTheProvider(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		f.etcd()
		f.must(f.Split(true))
		client := f.client(lab.IPv4a)
		for _, h := range f.Hosts {
			f.configure(h, mode, fenced, equals(instance4(100)))
			f.keepalived(h)
		}
		f.bothMaster(lab.IPv4a)
		f.until("a claim", func() bool { return f.Holder(lab.IPv4a) != nil })
		f.pass(2*fenceTTL, client[0])
		writers := make(map[*lab.Host]int)
		for _, h := range f.Hosts {
			for _, r := range f.Requests(h, time.Time{}) {
				if r.Write {
					writers[h]++
				}
			}
		}
		if len(writers) != 1 {
			t.Errorf("want claims of one host only, got %v", writers)
		}
	})
}

// Without etcd the holder stops when its lease has ended, and goes on by itself.
func TestFenceWithoutEtcdEndsWithTheLease(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		etcd := f.etcd()
		f.configure(f.host1, mode, fenced, instance4(100))
		client := f.client(lab.IPv4a)
		f.keepalived(f.host1)
		f.served(f.host1, time.Now(), client...)

		lost := time.Now()
		f.must(etcd.Member(0).Kill())
		f.pass(3*fenceTTL, client[0])
		if got := f.Requests(f.host1, lost); len(got) > 0 {
			last := got[len(got)-1].Time
			if after := last.Sub(lost) - client[0].Stalled(lost, last); after > fenceTTL {
				t.Errorf("want no request later than %v after etcd was lost, got one after %v", fenceTTL, after)
			}
		}
		returned := time.Now()
		f.must(etcd.Member(0).Restart())
		f.until("berth to ask again", func() bool { return len(f.Requests(f.host1, returned)) > 0 })
	})
}
