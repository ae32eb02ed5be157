package e2e_test

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/lab"
	"berth/vrrp"
)

// Two hundred instances in one file change hands at once, and the reader of the
// new owner is killed in the middle of it.
func TestManyInstancesAtOnce(t *testing.T) {
	t.Parallel()
	const n = 200
	f := newField(t)
	instances := func(priority int) []lab.Instance {
		var list []lab.Instance
		for i := range n {
			list = append(list, lab.Instance{Name: fmt.Sprintf("VI_%d", i), ID: i + 1, Priority: priority,
				Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("2001:db8:f1::1:%x", i+1))}})
		}
		return list
	}
	first := netip.MustParseAddr("2001:db8:f1::1:1")
	settled := func(h *lab.Host) {
		t.Helper()
		f.until(fmt.Sprintf("%d instances to be MASTER on %s", n, h.Name), func() bool {
			for i := range n {
				in := f.status(h, fmt.Sprintf("VI_%d", i))
				if in.State != vrrp.Master || len(in.Addresses) != 1 || in.Addresses[0].Owner != "here" {
					return false
				}
			}
			return true
		})
	}
	const calm = "refresh-interval: 2s\nback-off: {initial-interval: 50ms, max-interval: 500ms}\n"
	f.configure(f.host1, lab.FIFO, calm, instances(150)...)
	f.configure(f.host2, lab.FIFO, calm, instances(100)...)
	client := f.client(first)
	k1 := f.keepalived(f.host1)
	settled(f.host1)
	f.standby(f.host2)
	f.pass(time.Second, client[0])
	stopped := time.Now()
	f.must(k1.Signal(unix.SIGTERM))
	f.until("host2 to be in the middle of it", func() bool {
		taken := 0
		for _, b := range f.Bindings() {
			if b.Host == f.host2 && b.Bound && b.Time.After(stopped) {
				taken++
			}
		}
		return taken >= n/4
	})
	f.restartBerth(f.host2)
	settled(f.host2)
	// keepalived takes some time to remove the addresses, and writes STOP afterwards.
	<-k1.Done()
	f.silent(f.host1, k1.Exited(), client[0])
	f.served(f.host2, k1.Exited(), client...)
}

// The better host changes every 100 ms, faster than VRRP can follow.
func TestFlappingPriority(t *testing.T) {
	t.Parallel()
	bothModes(t, func(t *testing.T, mode lab.Mode) {
		f := newField(t)
		flapping := instance4(100)
		flapping.Lines = "    track_file {\n        prio weight 1\n    }\n"
		f.configure(f.host1, mode, lab.Fast, flapping)
		conf, err := f.host1.ReadFile(lab.KeepalivedConf)
		f.must(err)
		f.must(f.host1.WriteFile(lab.KeepalivedConf, "vrrp_track_file prio {\n    file /run/prio\n}\n"+string(conf), 0o644))
		f.must(f.host1.WriteFile("/run/prio", "0\n", 0o644))
		f.configure(f.host2, mode, lab.Fast, instance4(150))
		client := f.client(lab.IPv4a)
		f.keepalived(f.host1)
		f.served(f.host1, time.Now(), client...)
		f.keepalived(f.host2)
		f.served(f.host2, time.Now(), client...)
		prio := func(value string) {
			t.Helper()
			f.must(f.host1.Do(func() error { return os.WriteFile("/run/prio", []byte(value), 0o644) }))
		}
		moves := len(f.Bindings())
		for i := range rounds(40, 600) {
			prio([]string{"100\n", "0\n"}[i%2])
			if i%20 > 12 {
				prio("100\n") // for long enough that VRRP does follow
			}
			f.pass(100*time.Millisecond, client[0])
		}
		prio("100\n")
		f.bound(f.host1, lab.IPv4a, time.Time{})
		last := time.Now()
		f.until("host1 to hold what it won", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
		f.served(f.host1, last, client...)
		f.stays(lab.IPv4a, f.host1, 1500*time.Millisecond, client[0])
		if len(f.Bindings())-moves < 4 {
			t.Errorf("want the state to have changed more than once, got %v", f.Bindings())
		}
		for _, h := range f.Hosts {
			f.lawful(h, lab.IPv4a, client[0])
		}
	})
}
