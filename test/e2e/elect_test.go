package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/status"
	"berth/internal/testnet"
	"berth/test/lab"
	"berth/vrrp"
)

// elects starts berth elect for an IPv4 and an IPv6 address, on the interface and
// at the provider.
func (f *field) elects(h *lab.Host) *testnet.Process {
	f.t.Helper()
	f.must(h.ConfigureBerth(lab.Fast + fmt.Sprintf(`etcd: {endpoints: ["http://10.77.0.1:2379"], member: %s, lease-ttl: 4s}
election: {interface: %s, instances: [{name: api, addresses: [%v, %v]}]}
`, h.Name, lab.Link, lab.IPv4a, lab.IPv6n)))
	p, err := h.Start("berth", lab.BerthPath, "elect", lab.BerthConf)
	f.must(err)
	return p
}

// waits returns when h is in the queue of an instance that another host owns.
func (f *field) waits(h *lab.Host) {
	f.t.Helper()
	f.until(h.Name+" to wait for its turn", func() bool {
		var all []status.Instance
		f.must(h.Do(func() (err error) {
			all, err = status.Read("/run/berth")
			return err
		}))
		return len(all) == 1 && all[0].State == vrrp.Backup && all[0].Owner != ""
	})
}

// The owner has the addresses on its interface before the provider sends packets
// there, and the host that gives them up makes no more requests to the provider.
func TestElectedOwnerBindsAndPoints(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.etcd()
	addresses := []netip.Addr{lab.IPv4a, lab.IPv6n}
	client := f.client(addresses...)
	// The kernel reports changes a moment late, and those of two hosts in any order.
	// Therefore the test asks the kernels for the addresses when a claim arrives.
	var mu sync.Mutex
	var early []string
	f.API.Before(func(r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if r.Method == http.MethodGet || err != nil {
			return
		}
		claims := []*lab.Host{f.host1, f.host2}
		if from.Addr() == f.host2.Addr4 {
			slices.Reverse(claims)
		}
		own, other := f.kernelHas(claims[0]), f.kernelHas(claims[1])
		for _, ip := range addresses {
			if !own[ip] || other[ip] {
				mu.Lock()
				early = append(early, fmt.Sprintf("%s %s of %s: it has %v: %t, %s has it: %t", r.Method, r.URL.Path, claims[0].Name, ip, own[ip], claims[1].Name, other[ip]))
				mu.Unlock()
			}
		}
	})
	b1 := f.elects(f.host1)
	f.served(f.host1, time.Now(), client...)
	b2 := f.elects(f.host2)
	f.waits(f.host2)

	takes := func(h, from *lab.Host, since time.Time) {
		t.Helper()
		f.served(h, since, client...)
		own, other := f.kernelHas(h), f.kernelHas(from)
		for _, ip := range addresses {
			if !own[ip] || other[ip] {
				t.Errorf("want %v on %s and not on %s, got %t and %t", ip, h.Name, from.Name, own[ip], other[ip])
			}
			_, bound := h.Has(ip)
			for _, r := range f.Requests(from, since) {
				if r.Time.After(bound) {
					t.Errorf("want no request of %s after %v was bound on %s, got %s %s at %v", from.Name, ip, h.Name, r.Method, r.Path, r.Time)
				}
			}
		}
	}
	stopped := time.Now()
	f.must(b1.Signal(unix.SIGTERM))
	takes(f.host2, f.host1, stopped)

	f.elects(f.host1)
	f.waits(f.host1)
	killed := time.Now()
	f.must(b2.Signal(unix.SIGKILL))
	takes(f.host1, f.host2, killed)
	mu.Lock()
	defer mu.Unlock()
	if len(early) > 0 {
		t.Errorf("want no claim before the addresses are bound here and gone elsewhere, got %q", early)
	}
}

// kernelHas returns the addresses of a host.
func (f *field) kernelHas(h *lab.Host) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	err := h.Do(func() error {
		list, err := net.InterfaceAddrs()
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				all[p.Addr()] = true
			}
		}
		return err
	})
	if err != nil {
		f.t.Error(err)
	}
	return all
}
