package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"berth/internal/journal"
	"berth/internal/testnet"
)

func TestOpenNamesTheCure(t *testing.T) {
	testnet.Require(t)
	n := newNode(t, "host", new(testnet.Bell))
	wide := netip.MustParsePrefix("192.0.2.254/24")
	for _, tt := range []struct {
		name    string
		prepare func() error
		o       Options
		want    string // "" for success
	}{
		{"no such interface", func() error { return nil }, Options{Name: "eth7", Managed: []netip.Prefix{v4}},
			"open interface eth7: it does not exist; see: ip link"},
		{"a shared prefix without promotion", func() error { return nil }, Options{Name: "lo", Managed: []netip.Prefix{wide}},
			"write 192.0.2.254/32, or run: echo 1 >/proc/sys/net/ipv4/conf/lo/promote_secondaries"},
		{"a shared prefix of IPv6", func() error { return nil }, Options{Name: "lo", Managed: []netip.Prefix{netip.MustParsePrefix("2001:db8::254/64")}}, ""},
		{"without CAP_NET_ADMIN", func() error { return drop(unix.CAP_NET_ADMIN) }, Options{Name: "lo"},
			"open interface lo: change addresses: operation not permitted: needs CAP_NET_ADMIN and CAP_NET_RAW, as root has them, or as a service with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"},
		{"without CAP_NET_RAW", func() error { return drop(unix.CAP_NET_RAW) }, Options{Name: "lo"},
			"operation not permitted: needs CAP_NET_ADMIN and CAP_NET_RAW"},
		{"a shared prefix with promotion", func() error { return n.Sysctl("net/ipv4/conf/all/promote_secondaries", "1") },
			Options{Name: "lo", Managed: []netip.Prefix{wide}}, ""},
	} {
		// Each runs on a thread of its own, which ends without the capability.
		err := n.Do(func() error {
			must(t, tt.prepare())
			i, err := Open(tt.o)
			if err == nil {
				err = i.Close()
			}
			return err
		})
		if got := errorText(err); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: want %q, got %q", tt.name, tt.want, got)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// drop takes a capability from this thread.
func drop(capability int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[capability/32].Effective &^= 1 << (capability % 32)
	return unix.Capset(&header, &data[0])
}

// The lease decides who has an address, not a probe.
func TestAnotherHostThatHasTheAddressIsNamedAndNotObeyed(t *testing.T) {
	w := kernelWorld(t)
	w.neighbourAdds(v4)
	w.neighbourAdds(v6)
	core, logs := observer.New(zap.WarnLevel)
	o := options(t)
	o.Journal = journal.New(zap.New(core))
	o.Announce = Announce{}
	i := running(t, w, o)
	for _, p := range []netip.Prefix{v4, v6} {
		// Repeated, because the link of the neighbour may not be ready at first.
		w.wait("a warning about "+p.String(), func() bool {
			bind(t, i, p)(errDemoted)
			return logs.FilterMessage(addressClaimed.Text).FilterField(zap.Stringer("address", p)).Len() > 0
		})
	}
}

// The kernel may be deleting a duplicate, or keeping it unusable.
func TestAnAddressThatFailedDuplicateDetectionIsRepaired(t *testing.T) {
	w := kernelWorld(t)
	w.neighbourAdds(v6)
	i := running(t, w, options(t))
	bind(t, i, v6)
	w.next(t, v6, true)
	w.sysctl("net/ipv6/conf/eth0/accept_dad", "1")
	w.remove(v6)
	w.next(t, v6, false)
	w.next(t, v6, true)
	w.wait("a second between defences", func() bool { return w.has() == v6.String() })
	// An operator's address, which is found to be a duplicate a second later.
	w.run("ip address del 2001:db8::254/128 dev eth0; ip address add 2001:db8::254/128 dev eth0")
	w.wait("the address usable and with a limited lifetime", func() bool {
		there := i.there(v6)
		return len(there) == 1 && !there[0].duplicate && there[0].valid != forever
	})
}

// More events arrive than the socket holds while its reader is busy (netlink(7)).
func TestAnOverflowOfEventsIsSurvived(t *testing.T) {
	w := kernelWorld(t)
	o := options(t)
	o.Journal = nil
	i := running(t, w, o)
	bind(t, i, v4)
	i.mu.Lock()
	w.add(v6) // its event makes the reader wait for the lock
	w.run(`for n in $(seq 4000); do echo "address add 10.1.$((n/250)).$((n%250))/32 dev eth0"; done | ip -batch -`)
	w.remove(v4)
	i.mu.Unlock()
	w.wait("the address put back", func() bool { return strings.Contains(w.has(), v4.String()) })
}

// A batch that does not fit into one request goes on in the next.
func TestThousandAddresses(t *testing.T) {
	testnet.Require(t)
	n := newNode(t, "host", new(testnet.Bell))
	o := options(t)
	o.Name, o.Managed, o.Journal = "lo", nil, nil
	for a := netip.MustParseAddr("10.0.0.1"); len(o.Managed) < 1000; a = a.Next() {
		o.Managed = append(o.Managed, netip.PrefixFrom(a, 32))
	}
	var i *Interface
	must(t, n.Do(func() (err error) {
		i, err = Open(o)
		return err
	}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := i.Bind(ctx, o.Managed, func() {
		if got := len(i.Present()); got != len(o.Managed) {
			t.Errorf("want %d present, got %d", len(o.Managed), got)
		}
		cancel()
	})
	if err != context.Canceled {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
	if got := len(i.Present()); got != 0 {
		t.Errorf("want none present, got %d", got)
	}
	must(t, i.Close())
}

// BenchmarkRenewThousand measures one renewal of all addresses of a large host.
func BenchmarkRenewThousand(b *testing.B) {
	testnet.Require(b)
	n := newNode(b, "host", new(testnet.Bell))
	var k kernel
	must(b, n.Do(func() (err error) {
		k, err = openKernel("lo")
		return err
	}))
	defer k.Close()
	var addrs []netip.Prefix
	for a := netip.MustParseAddr("10.0.0.1"); len(addrs) < 1000; a = a.Next() {
		addrs = append(addrs, netip.PrefixFrom(a, 32))
	}
	l, _, err := k.state(true)
	must(b, err)
	for b.Loop() {
		must(b, errors.Join(k.bind(l, addrs, 5)...))
	}
}

// BenchmarkBind200x5 measures what a hand-over of 200 instances with five addresses each
// costs one host: all calls of Bind begin at once, and end at once.
func BenchmarkBind200x5(b *testing.B) {
	testnet.Require(b)
	n := newNode(b, "host", new(testnet.Bell))
	end := time.Now().Add(time.Hour)
	o := Options{Name: "lo", End: func() time.Time { return end }, Elsewhere: func(netip.Prefix) bool { return false },
		Record: filepath.Join(b.TempDir(), "bound")}
	var instances [][]netip.Prefix
	for i := range 200 {
		var list []netip.Prefix
		for a := range 3 {
			list = append(list, netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/32", i, a+1)))
		}
		for a := range 2 {
			list = append(list, netip.MustParsePrefix(fmt.Sprintf("2001:db8::%x:%d/128", i, a+1)))
		}
		instances = append(instances, list)
		o.Managed = append(o.Managed, list...)
	}
	var i *Interface
	must(b, n.Do(func() error {
		if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
			return err
		}
		k, err := openKernel(o.Name)
		if err == nil {
			i, err = open(o, k, openRecord(o.Record, journal.New(nil), o.Managed))
		}
		return err
	}))
	running, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { _ = i.Run(running) })
	defer func() { stop(); watch.Wait(); must(b, i.Close()) }()
	var bind, unbind time.Duration
	for b.Loop() {
		ctx, cancel := context.WithCancelCause(context.Background())
		var bound, ended sync.WaitGroup
		begun := time.Now()
		for _, addrs := range instances {
			bound.Add(1)
			ended.Go(func() {
				if err := i.Bind(ctx, addrs, bound.Done); !errors.Is(err, errDemoted) {
					b.Errorf("want %v, got %v", errDemoted, err)
				}
			})
		}
		bound.Wait()
		bind += time.Since(begun)
		begun = time.Now()
		cancel(errDemoted)
		ended.Wait()
		unbind += time.Since(begun)
	}
	b.ReportMetric(float64(bind.Microseconds())/1000/float64(b.N), "bind-ms")
	b.ReportMetric(float64(unbind.Microseconds())/1000/float64(b.N), "unbind-ms")
}
