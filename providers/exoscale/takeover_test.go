package exoscale_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/providertest"
	"berth/refresher"
)

// large is an account with n instances and ten elastic IPs, all at lb2.
func large(n int, operation time.Duration) (cloudsim.Config, []netip.Addr) {
	c := cloudsim.Config{Key: key, Secret: secret, OperationTime: operation, Seed: 1}
	for i := range n {
		id := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1)
		switch i {
		case 0:
			id = lb1
		case 1:
			id = lb2
		}
		c.Servers = append(c.Servers, cloudsim.Server{UUID: id, Name: fmt.Sprintf("vm%d", i+1), Region: zone})
	}
	var addrs []netip.Addr
	for i := range 10 {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
		network := netip.PrefixFrom(a, 32)
		if i >= 8 { // two of IPv6
			a = netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::5", i))
			network = netip.PrefixFrom(a, 96).Masked()
		}
		addrs = append(addrs, a)
		c.ElasticIPs = append(c.ElasticIPs, cloudsim.ElasticIP{ID: fmt.Sprintf("e0000000-0000-4000-8000-%012d", i),
			Network: network, Zone: zone, Servers: []string{lb2}})
	}
	return c, addrs
}

func TestQuietRefreshCostsOneCallAndOnePerElasticIP(t *testing.T) {
	for _, n := range []int{3, 50, 500} {
		for _, count := range []int{1, 10} {
			t.Run(fmt.Sprintf("%d elastic IPs among %d instances", count, n), func(t *testing.T) {
				c, addrs := large(n, 0)
				for i := range c.ElasticIPs {
					c.ElasticIPs[i].Servers = []string{lb1}
				}
				sim := providertest.NewSim(t, c)
				d, _ := providertest.Deps(t, sim)
				p := newClient(t, d, plain)
				observe(t, p, addrs[:count]...)
				sim.ClearHistory()
				got := observe(t, p, addrs[:count]...)
				for _, a := range addrs[:count] {
					if got[a].Kind != providers.Mine {
						t.Errorf("%s: want mine, got %+v", a, got[a])
					}
				}
				if want, got := 1+count, len(sim.History()); got != want {
					t.Errorf("calls: want %d, got %d: %v", want, got, requests(sim))
				}
			})
		}
	}
}

func TestTakeoverOfTenElasticIPs(t *testing.T) {
	const perCall = 50 * time.Millisecond
	for _, n := range []int{3, 50, 500} {
		for _, row := range []struct{ operation, atMost time.Duration }{{0, time.Second}, {500 * time.Millisecond, 1500 * time.Millisecond}} {
			t.Run(fmt.Sprintf("%d instances, operations of %s", n, row.operation), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, addrs := large(n, row.operation)
					sim := providertest.NewSim(t, c)
					d, _ := providertest.Deps(t, sim)
					if err := newClient(t, d, plain).(providers.Preparer).Prepare(t.Context()); err != nil {
						t.Fatal(err)
					}
					sim.ClearHistory()
					sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: perCall}, {Kind: cloudsim.Slow, Latency: perCall, Path: "/latest/"}})

					start := time.Now()
					var moved, free time.Duration
					sim.OnMove(func(m cloudsim.Move) {
						if len(m.Servers) == 0 {
							free = time.Since(start)
						}
						if slices.Equal(m.Servers, []string{lb1}) {
							moved = time.Since(start)
						}
					})
					var mu sync.Mutex
					told := 0
					stop := beMaster(t.Context(), newClient(t, d, plain), func(r refresher.Report) {
						mu.Lock()
						defer mu.Unlock()
						if r.Owner == refresher.Here {
							told++
						}
						if r.LastError != "" {
							t.Errorf("want no failure, got %s", r.LastError)
						}
					}, addrs...)
					time.Sleep(1990 * time.Millisecond) // before the settle checks
					for _, a := range addrs {
						if got := sim.Holders(a); !slices.Equal(got, []string{lb1}) {
							t.Errorf("%s: want it here alone, got %v", a, got)
						}
					}
					calls := len(sim.History())
					stop()
					t.Logf("attached here and detached there after %s, with %d requests", moved, calls)
					if moved > row.atMost {
						t.Errorf("want it within %s, got %s", row.atMost, moved)
					}
					if calls > 120 {
						t.Errorf("want 120 requests at most, got %d", calls)
					}
					if free != 0 {
						t.Errorf("an elastic IP was not attached after %s", free)
					}
					if told != len(addrs) {
						t.Errorf("want %d addresses told to be here, got %d", len(addrs), told)
					}
					time.Sleep(time.Second)
				})
			})
		}
	}
}

func TestWarmStartClaimsFirstAlthoughEverythingElseIsDown(t *testing.T) {
	sim := providertest.NewSim(t, account())
	d, logs := providertest.Deps(t, sim)
	observe(t, newClient(t, d, plain), addr4)
	sim.ClearHistory()
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Drop, Path: "/v2/elastic-ip", Method: "GET"}, {Kind: cloudsim.Drop, Path: "/latest/"}})
	if err := newClient(t, d, plain).Claim(t.Context(), addr4, providertest.Permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, attach4, readMe, find4, readPeer, detach4)
	if got := requests(sim)[0]; got != attach4 {
		t.Errorf("first request: want %s, got %s", attach4, got)
	}
	if got := sim.Holders(addr4); !slices.Equal(got, []string{lb1}) {
		t.Errorf("holders: want %s, got %v", lb1, got)
	}
	if n := logs.FilterLevelExact(zap.WarnLevel).Len(); n != 0 {
		t.Errorf("want no warning, got %v", logs.All())
	}
}

func TestWrongCacheDoesNoHarm(t *testing.T) {
	const gone = "99999999-9999-4999-8999-999999999999"
	tests := []struct {
		name, old, new string
		want           []string // requests before the move that works
	}{
		{"this instance is no longer there", lb1, gone, []string{attach4, "GET /instance/" + gone, metaID, listEIPs}},
		{"the elastic IP is another", eip4, gone, []string{"PUT /elastic-ip/" + gone + ":attach", readMe, metaID, listEIPs}},
		{"the address is not in it", "192.0.2.10/32", "192.0.2.11/32", []string{listEIPs}},
		{"nonsense", eip4 + " ", "x", []string{listEIPs}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := providertest.NewSim(t, account())
			d, _ := providertest.Deps(t, sim)
			observe(t, newClient(t, d, plain), addr4)
			files, _ := filepath.Glob(filepath.Join(d.RunDir, "ids-exoscale-*.json"))
			b, err := os.ReadFile(files[0])
			if err != nil || !strings.Contains(string(b), tt.old) {
				t.Fatalf("no %s in %s: %v", tt.old, b, err)
			}
			if err := os.WriteFile(files[0], []byte(strings.ReplaceAll(string(b), tt.old, tt.new)), 0o600); err != nil {
				t.Fatal(err)
			}
			sim.ClearHistory()
			if err := newClient(t, d, plain).Claim(t.Context(), addr4, providertest.Permit); err != nil {
				t.Error(err)
			}
			wantRequests(t, sim, append(tt.want, attach4, readMe, find4, readPeer, detach4)...)
			if got := sim.Holders(addr4); !slices.Equal(got, []string{lb1}) {
				t.Errorf("holders: want %s, got %v", lb1, got)
			}
		})
	}
}

func TestNothingIsDetachedAfterDemotion(t *testing.T) {
	for _, at := range []string{"/v2/elastic-ip/", "/v2/instance/" + lb1, "/v2/instance?", "/v2/instance/" + lb2} {
		t.Run("while "+at+" is asked", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := providertest.NewSim(t, account())
				d, _ := providertest.Deps(t, sim)
				p := newClient(t, d, certain)
				observe(t, p, addr4)
				gate := sim.Gate("", at)
				reason := errors.New("demoted")
				ctx, cancel := context.WithCancelCause(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := p.Claim(ctx, addr4, providertest.Permit); !errors.Is(err, reason) {
						t.Errorf("want the cause, got %v", err)
					}
				})
				if _, err := gate.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				cancel(reason)
				wg.Wait()
				gate.Release()
				synctest.Wait()
				if got := detached(sim); len(got) != 0 {
					t.Errorf("want no instance detached, got %v", got)
				}
			})
		})
	}
}

func TestAttachedAlreadyIsNotAttachedAgain(t *testing.T) {
	sim := providertest.NewSim(t, account())
	if err := sim.Attach(network4, lb2, lb1); err != nil {
		t.Fatal(err)
	}
	d, _ := providertest.Deps(t, sim)
	p := newClient(t, d, certain)
	if got := observe(t, p, addr4)[addr4]; got.Kind != providers.Other || got.Owner != "lb2 ("+lb2+") beside this host" {
		t.Errorf("want lb2 beside this host, got %+v", got)
	}
	sim.ClearHistory()
	if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, readMe, find4, readPeer, detach4)

	// A process that does not know finds out by the refusal.
	if err := sim.Attach(network4, lb2, lb1); err != nil {
		t.Fatal(err)
	}
	p = newClient(t, d, certain)
	sim.ClearHistory()
	if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, attach4, readMe, find4, readPeer, detach4)
}

func TestClaimsOfOneNetworkShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := account()
		c.OperationTime = 500 * time.Millisecond
		sim := providertest.NewSim(t, c)
		d, _ := providertest.Deps(t, sim)
		p := newClient(t, d, certain)
		observe(t, p, addr6a)
		sim.ClearHistory()
		// The first of the two loses its permit on the way; the other goes on.
		fenced := errors.New("fenced")
		asked := 0
		var wg sync.WaitGroup
		wg.Go(func() {
			p.Claim(t.Context(), addr6a, func(context.Context) error {
				if asked++; asked > 1 {
					return fenced
				}
				return nil
			})
		})
		synctest.Wait()
		wg.Go(func() {
			if err := p.Claim(t.Context(), addr6b, providertest.Permit); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if got := sim.Holders(addr6b); !slices.Equal(got, []string{lb1}) {
			t.Errorf("holders: want %s, got %v", lb1, got)
		}
		writes := 0
		for _, r := range sim.History() {
			if r.Write {
				writes++
			}
		}
		if writes != 2 {
			t.Errorf("writes: want 2, got %d: %v", writes, requests(sim))
		}
	})
}
