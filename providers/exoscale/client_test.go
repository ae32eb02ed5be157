package exoscale_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"gopkg.in/yaml.v3"

	"berth/internal/cloudsim"
	"berth/internal/journal"
	"berth/providers"
	"berth/providers/exoscale"
	"berth/refresher"
	"berth/vrrp"
)

// deps are those of lb1, which reaches the simulator in-process.
func deps(t testing.TB, sim *cloudsim.Sim) (providers.Deps, *observer.ObservedLogs) {
	core, logs := observer.New(zap.InfoLevel)
	return providers.Deps{
		Journal:   journal.New(zap.New(core)),
		RunDir:    t.TempDir(),
		UserAgent: "berth/test",
		Env:       func(string) string { return "" },
		Hostname:  func() (string, error) { return "lb1.example.net", nil },
		Secret:    func(_, inline, _, _ string) (string, error) { return inline, nil },
		Transport: sim.RoundTripper(),
	}, logs
}

func newClient(t testing.TB, d providers.Deps, text string) providers.Provider {
	t.Helper()
	p, err := parse(d, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parse(d providers.Deps, text string) (providers.Provider, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	return exoscale.Entry.New(d, &doc)
}

const (
	plain   = "key: " + key + "\nsecret: " + secret
	certain = plain + "\nzone: " + zone + "\ninstance-id: " + lb1
)

func permit(context.Context) error { return nil }

// requests returns method and path of what the simulator was asked, without what
// stands before the resource.
func requests(sim *cloudsim.Sim) []string {
	got := []string{}
	for _, r := range sim.History() {
		got = append(got, r.Method+" "+strings.TrimPrefix(r.Path, "/v2"))
	}
	return got
}

const (
	metaID   = "GET /latest/meta-data/instance-id"
	metaZone = "GET /latest/meta-data/availability-zone"
	listEIPs = "GET /elastic-ip"
	readMe   = "GET /instance/" + lb1
	readPeer = "GET /instance/" + lb2
	find4    = "GET /instance?ip-address=192.0.2.10"
	attach4  = "PUT /elastic-ip/" + eip4 + ":attach"
	detach4  = "PUT /elastic-ip/" + eip4 + ":detach"
)

// wantRequests compares without order what may run at the same time.
func wantRequests(t *testing.T, sim *cloudsim.Sim, want ...string) {
	t.Helper()
	sorted := cmp.Transformer("sort", func(s []string) []string { return slices.Sorted(slices.Values(s)) })
	if d := cmp.Diff(append([]string{}, want...), requests(sim), sorted); d != "" {
		t.Errorf("requests, want-, got+:\n%s", d)
	}
}

// detached returns the instances that a detach was asked for.
func detached(sim *cloudsim.Sim) []string {
	var got []string
	for _, r := range sim.History() {
		if strings.HasSuffix(r.Path, ":detach") {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(r.Body, `{"instance":{"id":"`), `"}}`))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(got)))
}

func observe(t *testing.T, p providers.Provider, addrs ...netip.Addr) map[netip.Addr]providers.Holder {
	t.Helper()
	got, err := p.Observe(t.Context(), addrs)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

var policy = refresher.Policy{Interval: time.Minute, Timeout: 10 * time.Second,
	InitialInterval: time.Second, Multiplier: 1.1, MaxInterval: 10 * time.Second}

// keep does what a host that is MASTER does, with audits, until the returned
// function is called.
func keep(ctx context.Context, p providers.Provider, report func(refresher.Report), addrs ...netip.Addr) (stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	account := providers.NewAccount("exoscale", p)
	var wg sync.WaitGroup
	wg.Go(func() { account.Run(ctx) })
	for _, a := range addrs {
		target := account.Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(a, a.BitLen())}, permit)
		wg.Go(func() {
			defer target.Close()
			(&refresher.Loop{Target: target, Policy: policy, Report: report}).Run(ctx)
		})
	}
	return func() {
		cancel(errors.New("demoted"))
		wg.Wait()
	}
}

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
				sim := newSim(t, c)
				d, _ := deps(t, sim)
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
					sim := newSim(t, c)
					d, _ := deps(t, sim)
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
					stop := keep(t.Context(), newClient(t, d, plain), func(r refresher.Report) {
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
						t.Errorf("an elastic IP was with nobody after %s", free)
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
	sim := newSim(t, account())
	d, logs := deps(t, sim)
	observe(t, newClient(t, d, plain), addr4)
	sim.ClearHistory()
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Drop, Path: "/v2/elastic-ip", Method: "GET"}, {Kind: cloudsim.Drop, Path: "/latest/"}})
	if err := newClient(t, d, plain).Claim(t.Context(), addr4, permit); err != nil {
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
			sim := newSim(t, account())
			d, _ := deps(t, sim)
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
			if err := newClient(t, d, plain).Claim(t.Context(), addr4, permit); err != nil {
				t.Error(err)
			}
			wantRequests(t, sim, append(tt.want, attach4, readMe, find4, readPeer, detach4)...)
			if got := sim.Holders(addr4); !slices.Equal(got, []string{lb1}) {
				t.Errorf("holders: want %s, got %v", lb1, got)
			}
		})
	}
}

func TestFilterThatLiesHarmsNobodyAndTheEndIsRight(t *testing.T) {
	const innocent, other = lb4, "e0000000-0000-4000-8000-00000000000f"
	for _, n := range []int{4, 60} {
		for _, row := range []struct {
			name   string
			addr   netip.Addr
			faults cloudsim.Faults
		}{
			{"ignored", addr4, cloudsim.Faults{{Kind: cloudsim.FilterIgnored}}},
			{"lagging", addr4, cloudsim.Faults{{Kind: cloudsim.FilterLagging}}},
			{"without IPv6", addr6a, cloudsim.Faults{{Kind: cloudsim.FilterWithoutIPv6}}},
			{"right", addr4, nil},
		} {
			t.Run(fmt.Sprintf("%s, %d instances", row.name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := account()
					c.OperationTime = 700 * time.Millisecond
					for i := range n {
						c.Servers = append(c.Servers, cloudsim.Server{UUID: fmt.Sprintf("%08d-0000-4000-8000-000000000000", i), Region: zone})
					}
					// An elastic IP of somebody else's, which no request must touch.
					theirs := netip.MustParsePrefix("192.0.2.77/32")
					c.ElasticIPs = append(c.ElasticIPs, cloudsim.ElasticIP{ID: other, Network: theirs, Zone: zone, Servers: []string{innocent, lb2}})
					sim := newSim(t, c)
					sim.SetFaults(append(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 20 * time.Millisecond}}, row.faults...))
					d, logs := deps(t, sim)
					var thefts atomic.Int64
					stop := keep(t.Context(), newClient(t, d, plain), func(r refresher.Report) { thefts.Store(int64(r.Thefts)) }, row.addr)
					time.Sleep(10 * time.Second)
					if got := sim.Holders(row.addr); !slices.Equal(got, []string{lb1}) {
						t.Errorf("holders after 10 s: want %s, got %v", lb1, got)
					}
					if got := detached(sim); !slices.Equal(got, []string{lb2}) {
						t.Errorf("detached: want %s alone, got %v", lb2, got)
					}
					if got := sim.Holders(theirs.Addr()); !slices.Equal(got, []string{innocent, lb2}) {
						t.Errorf("somebody else's elastic IP: want it untouched, got %v", got)
					}
					if n := thefts.Load(); n != 0 {
						t.Errorf("want no theft told, got %d", n)
					}
					doubt := logs.FilterMessageSnippet("cannot be relied on").Len()
					if doubt > 1 || (row.faults == nil && doubt != 0) {
						t.Errorf("want at most one word about the filter, got %d", doubt)
					}

					// A rival that attaches itself too is found and detached, at the
					// latest by the hourly audit.
					sim.ClearHistory()
					if err := sim.Attach(networkOf(row.addr), lb1, innocent); err != nil {
						t.Fatal(err)
					}
					time.Sleep(63 * time.Minute)
					if got := sim.Holders(row.addr); !slices.Equal(got, []string{lb1}) {
						t.Errorf("holders after a rival: want %s, got %v", lb1, got)
					}
					if got := detached(sim); !slices.Equal(got, []string{innocent}) {
						t.Errorf("detached: want the rival alone, got %v", got)
					}
					stop()
					time.Sleep(time.Second)
				})
			})
		}
	}
}

func networkOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return network4
	}
	return network6
}

func TestAuditIsHourlyAndEndsWithTheLastAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, addrs := large(50, 0)
		addrs = addrs[:2]
		sim := newSim(t, c)
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 50 * time.Millisecond}})
		d, logs := deps(t, sim)
		p := newClient(t, d, plain)
		audits := func() (n int) {
			for _, r := range requests(sim) {
				if r == "GET /instance" {
					n++
				}
			}
			return n
		}
		stop := keep(t.Context(), p, nil, addrs...)
		time.Sleep(59 * time.Minute)
		if got := audits(); got != 0 {
			t.Errorf("audits in the first 59 minutes: want none, got %d", got)
		}
		time.Sleep(150 * time.Minute)
		if got := audits(); got != 3 {
			t.Errorf("audits in three and a half hours: want 3, got %d", got)
		}
		stop()

		// Broken off in the middle: nothing is asked after that.
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 50 * time.Millisecond}, {Kind: cloudsim.FilterIgnored}})
		hold := sim.Hold("GET", "/v2/instance/00000040")
		stop = keep(t.Context(), p, nil, addrs...)
		if _, err := hold.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop()
		sim.ClearHistory()
		hold.Release()
		time.Sleep(3 * time.Hour)
		wantRequests(t, sim)
		if n := logs.FilterMessageSnippet("cannot read the records").Len(); n != 0 {
			t.Errorf("want no word of an audit that was broken off, got %v", logs.All())
		}
	})
}

func TestAuditThatIsNotPermittedIsSaidAndTheAddressStaysHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t, account())
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.FilterWithoutIPv6}, {Kind: cloudsim.Status, Status: 403, Path: "/v2/instance/" + lb4}})
		d, logs := deps(t, sim)
		owner := ""
		stop := keep(t.Context(), newClient(t, d, plain), func(r refresher.Report) { owner = r.Owner }, addr6a)
		time.Sleep(30 * time.Second)
		stop()
		if owner != refresher.Here {
			t.Errorf("owner: want %q, got %q", refresher.Here, owner)
		}
		if n := logs.FilterMessageSnippet("cannot read the records of all instances").Len(); n != 1 {
			t.Errorf("want one warning, got %v", logs.All())
		}
	})
}

func TestNothingIsDetachedAfterDemotion(t *testing.T) {
	for _, at := range []string{"/v2/elastic-ip/", "/v2/instance/" + lb1, "/v2/instance?", "/v2/instance/" + lb2} {
		t.Run("while "+at+" is asked", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := newSim(t, account())
				d, _ := deps(t, sim)
				p := newClient(t, d, certain)
				observe(t, p, addr4)
				hold := sim.Hold("", at)
				reason := errors.New("demoted")
				ctx, cancel := context.WithCancelCause(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := p.Claim(ctx, addr4, permit); !errors.Is(err, reason) {
						t.Errorf("want the cause, got %v", err)
					}
				})
				if _, err := hold.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				cancel(reason)
				wg.Wait()
				hold.Release()
				synctest.Wait()
				if got := detached(sim); len(got) != 0 {
					t.Errorf("want nobody detached, got %v", got)
				}
			})
		})
	}
}

func TestOperationsThatGoWrong(t *testing.T) {
	tests := []struct {
		name     string
		fault    cloudsim.Fault
		want     string // part of the first claim's error, "" for none
		wantKind providers.Kind
	}{
		{"busy", cloudsim.Fault{Kind: cloudsim.OperationFails, Count: 1}, "operation ended as failure: busy: simulated", providers.Transient},
		{"conflict", cloudsim.Fault{Kind: cloudsim.OperationFails, Reason: "conflict", Count: 1}, "conflict", providers.Transient},
		{"forbidden", cloudsim.Fault{Kind: cloudsim.OperationFails, Reason: "forbidden", Count: 1}, "forbidden", providers.Auth},
		{"unsupported", cloudsim.Fault{Kind: cloudsim.OperationFails, Reason: "unsupported", Count: 1}, "unsupported", providers.Invalid},
		{"never carried out", cloudsim.Fault{Kind: cloudsim.AcceptedOnly, Count: 1}, "accepted, but this instance does not have it", providers.Transient},
		{"detach fails", cloudsim.Fault{Kind: cloudsim.OperationFails, Count: 1, Path: "/v2/elastic-ip/" + eip4 + ":detach"}, "detach elastic IP: operation ended as failure", providers.Transient},
		{"detach not carried out", cloudsim.Fault{Kind: cloudsim.AcceptedOnly, Count: 1, Path: "/v2/elastic-ip/" + eip4 + ":detach"}, "", ""},
		{"operation cannot be read for a while", cloudsim.Fault{Kind: cloudsim.Status, Status: 500, Count: 3, Path: "/v2/operation/"}, "", ""},
		{"reading operations is refused once", cloudsim.Fault{Kind: cloudsim.Status, Status: 400, Count: 1, Path: "/v2/operation/"}, "", ""},
		{"reading operations is not permitted", cloudsim.Fault{Kind: cloudsim.Status, Status: 403, Path: "/v2/operation/", Until: time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC)}, "read operation: HTTP status 403", providers.Auth},
		{"answer without an operation", cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Body: "{}", Method: "PUT", Count: 1}, "accepted, but this instance does not have it", providers.Transient},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := account()
				c.OperationTime = 600 * time.Millisecond
				sim := newSim(t, c)
				d, _ := deps(t, sim)
				p := newClient(t, d, certain)
				observe(t, p, addr4)
				sim.SetFaults(cloudsim.Faults{tt.fault})
				err := p.Claim(t.Context(), addr4, permit)
				e, _ := errors.AsType[*providers.Error](err)
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("want success, got %v", err)
				case tt.want != "" && (e == nil || !strings.Contains(err.Error(), tt.want) || e.Kind != tt.wantKind):
					t.Errorf("want a %s error with %q, got %v", tt.wantKind, tt.want, err)
				}
				time.Sleep(time.Second)
				if len(sim.Holders(addr4)) == 0 {
					t.Error("nobody has it any more")
				}
				if err := p.Claim(t.Context(), addr4, permit); err != nil {
					t.Errorf("second claim: %v", err)
				}
				if got := sim.Holders(addr4); !slices.Equal(got, []string{lb1}) {
					t.Errorf("holders: want %s, got %v", lb1, got)
				}
			})
		})
	}
}

func TestVanishedOperationIsDecidedByTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := account()
		c.OperationTime = 50 * time.Millisecond // over when it is asked for first
		sim := newSim(t, c)
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.OperationVanishes}})
		d, _ := deps(t, sim)
		if err := newClient(t, d, certain).Claim(t.Context(), addr4, permit); err != nil {
			t.Error(err)
		}
		if got := sim.Holders(addr4); !slices.Equal(got, []string{lb1}) {
			t.Errorf("holders: want %s, got %v", lb1, got)
		}
	})
}

func TestOperationIsPolledFastThenSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := account()
		c.OperationTime = 9 * time.Second
		c.ElasticIPs[0].Servers = nil
		sim := newSim(t, c)
		d, _ := deps(t, sim)
		p := newClient(t, d, certain)
		start := time.Now()
		if err := p.Claim(t.Context(), addr4, permit); err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for _, r := range sim.History() {
			if strings.HasPrefix(r.Path, "/v2/operation/") {
				got = append(got, r.Time.Sub(start))
			}
		}
		ms := time.Millisecond
		want := []time.Duration{100 * ms, 300 * ms, 700 * ms, 1500 * ms, 3100 * ms, 5100 * ms, 7100 * ms, 9100 * ms}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("polls, want-, got+:\n%s", diff)
		}
	})
}

func TestAttachedAlreadyIsNotAttachedAgain(t *testing.T) {
	sim := newSim(t, account())
	if err := sim.Attach(network4, lb2, lb1); err != nil {
		t.Fatal(err)
	}
	d, _ := deps(t, sim)
	p := newClient(t, d, certain)
	if got := observe(t, p, addr4)[addr4]; got.Kind != providers.Other || got.Owner != "lb2 ("+lb2+") beside this host" {
		t.Errorf("want lb2 beside this host, got %+v", got)
	}
	sim.ClearHistory()
	if err := p.Claim(t.Context(), addr4, permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, readMe, find4, readPeer, detach4)

	// A process that does not know finds out by the refusal.
	if err := sim.Attach(network4, lb2, lb1); err != nil {
		t.Fatal(err)
	}
	p = newClient(t, d, certain)
	sim.ClearHistory()
	if err := p.Claim(t.Context(), addr4, permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, attach4, readMe, find4, readPeer, detach4)
}

func TestPeersAloneAreReadAndDetached(t *testing.T) {
	sim := newSim(t, account())
	if err := sim.Attach(network4, lb2, lb4); err != nil {
		t.Fatal(err)
	}
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 403, Path: "/v2/instance?"}, {Kind: cloudsim.Status, Status: 403, Path: "/v2/instance/" + lb4}})
	d, _ := deps(t, sim)
	p := newClient(t, d, certain+"\npeers: ["+strings.ToUpper(lb2)+", 99999999-9999-4999-8999-999999999999]")
	if got := observe(t, p, addr4, addr6a); got[addr4].Kind != providers.Other || got[addr6a].Kind != providers.Other {
		t.Errorf("want others, got %+v", got)
	}
	sim.ClearHistory()
	if err := p.Claim(t.Context(), addr4, permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, attach4, readMe, readPeer, "GET /instance/99999999-9999-4999-8999-999999999999", detach4)
	if got := sim.Holders(addr4); !slices.Equal(got, []string{lb4, lb1}) {
		t.Errorf("holders: want the one that is no peer left alone, got %v", got)
	}
	sim.ClearHistory()
	if got := observe(t, p, addr4, addr6a)[addr4]; got.Kind != providers.Mine {
		t.Errorf("want mine, got %+v", got)
	}
	wantRequests(t, sim, readMe, readPeer, "GET /instance/99999999-9999-4999-8999-999999999999")
}

func TestZoneAndInstanceComeFromWhereTheyAreKnown(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"all configured", certain, []string{readMe}},
		{"zone configured", plain + "\nzone: " + zone, []string{metaID, readMe}},
		{"instance configured", plain + "\ninstance-id: " + strings.ToUpper(lb1), []string{metaZone, readMe}},
		{"endpoint configured", plain + "\nendpoint: https://api-" + zone + ".exoscale.com/", []string{metaID, readMe}},
		{"nothing configured", plain, []string{metaID, metaZone, readMe}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := newSim(t, account())
			d, _ := deps(t, sim)
			got, err := newClient(t, d, tt.text).Self(t.Context())
			if want := (providers.Server{ID: lb1, Name: "lb1"}); err != nil || got != want {
				t.Errorf("want %+v, got %+v, %v", want, got, err)
			}
			wantRequests(t, sim, tt.want...)
			// The next process knows.
			sim.ClearHistory()
			if _, err := newClient(t, d, tt.text).Self(t.Context()); err != nil {
				t.Error(err)
			}
			wantRequests(t, sim, readMe)
		})
	}
	t.Run("another zone does not have this instance", func(t *testing.T) {
		sim := newSim(t, account())
		d, _ := deps(t, sim)
		_, err := newClient(t, d, plain+"\nzone: at-vie-1").Self(t.Context())
		if err == nil || !strings.Contains(err.Error(), "Instance not found") {
			t.Errorf("want the server's words, got %v", err)
		}
	})
}

func TestMetadataThatIsNoneIsTransientAndSaysWhatToDo(t *testing.T) {
	const path = "/latest/"
	tests := []struct {
		name  string
		fault cloudsim.Fault
		want  string
	}{
		{"no such page", cloudsim.Fault{Kind: cloudsim.Status, Status: 404, Path: path}, "HTTP status 404"},
		{"page of a captive portal", cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Path: path, Form: cloudsim.FormHTML}, "set instance-id"},
		{"nothing", cloudsim.Fault{Kind: cloudsim.EmptyBody, Path: path}, "set instance-id"},
		{"a zone that is none", cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Path: path + "meta-data/availability-zone", Body: "x.evil.example/"}, "set zone"},
		{"too large", cloudsim.Fault{Kind: cloudsim.Huge, Path: path}, "larger than 6291456 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := newSim(t, account())
			sim.SetFaults(cloudsim.Faults{tt.fault})
			d, _ := deps(t, sim)
			p := newClient(t, d, plain)
			_, err := p.Self(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
			if class, _ := refresher.Classify(err); class != refresher.Transient {
				t.Errorf("class: want transient, got %s", class)
			}
			sim.SetFaults(nil)
			if got, err := p.Self(t.Context()); err != nil || got.ID != lb1 {
				t.Errorf("after it: want %s, got %+v, %v", lb1, got, err)
			}
		})
	}
}

func TestClockThatIsWrongIsNamed(t *testing.T) {
	tests := []struct {
		skew time.Duration
		want string // of the error, "" for none
	}{
		{9 * time.Minute, ""},
		{11 * time.Minute, "Invalid request signature; this host's clock is 11m0s behind the provider's"},
		{-time.Hour, ""}, // this host is ahead: the signature lives longer
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			c := account()
			c.ClockSkew = tt.skew
			sim := newSim(t, c)
			d, _ := deps(t, sim)
			_, err := newClient(t, d, certain).Self(t.Context())
			if (err == nil) != (tt.want == "") || (err != nil && !strings.HasSuffix(err.Error(), tt.want)) {
				t.Errorf("clock of the server %s ahead: want %q, got %v", tt.skew, tt.want, err)
			}
		})
	}
}

func TestOperatorIsWarnedOnceOfWhatWillFight(t *testing.T) {
	c := account()
	c.Servers[0].Pool = "99999999-9999-4999-8999-999999999999"
	c.ElasticIPs[0].Managed = true
	sim := newSim(t, c)
	d, logs := deps(t, sim)
	for range 2 { // the second knows it from the disk
		p := newClient(t, d, plain)
		observe(t, p, addr4, addr6a)
		observe(t, p, addr4, addr6a)
	}
	for _, want := range []string{"this host belongs to an instance pool", "elastic IP has a health check of the provider's"} {
		if n := logs.FilterMessageSnippet(want).Len(); n != 2 {
			t.Errorf("%s: want it once in each process, got %d", want, n)
		}
	}
	if n := logs.FilterField(zap.String("address", addr6a.String())).Len(); n != 0 {
		t.Errorf("want no word about the other address, got %v", logs.All())
	}
}

func TestServersWordsAreShown(t *testing.T) {
	for form, want := range map[cloudsim.Form]string{
		cloudsim.FormMessage: "read own instance: HTTP status 403: simulated: Forbidden",
		cloudsim.FormError:   "read own instance: HTTP status 403: simulated: Forbidden",
		cloudsim.FormProblem: "read own instance: HTTP status 403: simulated: Forbidden; errors: is wrong; errors.location: $['instance']; Forbidden",
	} {
		sim := newSim(t, account())
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 403, Form: form}})
		d, _ := deps(t, sim)
		_, err := newClient(t, d, certain).Self(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", form, want, err)
		}
	}
}

func TestClaimsOfOneNetworkShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := account()
		c.OperationTime = 500 * time.Millisecond
		sim := newSim(t, c)
		d, _ := deps(t, sim)
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
			if err := p.Claim(t.Context(), addr6b, permit); err != nil {
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

func TestWrongSectionsAreRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no key", "secret: " + secret, "exoscale.key: missing; write key or key-file, or set the environment variable EXOSCALE_API_KEY"},
		{"no secret", "key: " + key, "exoscale.secret: missing; write secret or secret-file, or set the environment variable EXOSCALE_API_SECRET"},
		{"secret with a line end", "key: " + key + "\nsecret: \"" + secret + "\\n\"", "exoscale.secret: holds a space or another character that none has"},
		{"key with a comma", "key: a,b\nsecret: " + secret, "exoscale.key: holds a space or another character that none has"},
		{"zone that is none", plain + "\nzone: CH/GVA", "line 3: exoscale.zone: found a text of 6 characters; write a zone such as ch-gva-2"},
		{"instance that is none", plain + "\ninstance-id: lb1", "line 3: exoscale.instance-id: found a text of 3 characters; write the UUID of an instance"},
		{"peer that is none", plain + "\npeers: [lb2]", "line 3: exoscale.peers, number 1: found a text of 3 characters; write the UUID of an instance"},
		{"no URL", plain + "\nendpoint: api.exoscale.com", "line 3: exoscale.endpoint: found a text of 16 characters; write a URL such as https://api-ch-gva-2.exoscale.com/v2"},
		{"URL with a password", plain + "\nendpoint: https://u:" + secret + "@h/", "line 3: exoscale.endpoint: found a URL with a user, a query or a fragment; write one without, such as https://api-ch-gva-2.exoscale.com/v2"},
		{"broken URL", plain + "\nendpoint: 'https://u:" + secret + "@h:x/'", "line 3: exoscale.endpoint: found a text of 47 characters; write a URL such as https://api-ch-gva-2.exoscale.com/v2"},
		{"no authorities", plain + "\nca-file: /nonexistent", "exoscale: read ca-file: open /nonexistent: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := deps(t, newSim(t, account()))
			_, err := parse(d, tt.text)
			if err == nil || err.Error() != tt.want {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}

func TestPrepareAsksOnlyForWhatIsNotKnown(t *testing.T) {
	sim := newSim(t, account())
	d, _ := deps(t, sim)
	p := newClient(t, d, plain).(providers.Preparer)
	for _, want := range [][]string{{metaID, metaZone, listEIPs}, {}} {
		sim.ClearHistory()
		if err := p.Prepare(t.Context()); err != nil {
			t.Error(err)
		}
		wantRequests(t, sim, want...)
	}
}

func TestElasticIPsOfAnyFormAreFound(t *testing.T) {
	const list = "/v2/elastic-ip"
	sim := newSim(t, account())
	d, logs := deps(t, sim)
	p := newClient(t, d, certain)
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: http.StatusOK, Path: list, Body: `{"elastic-ips":[
		{"id":"` + eip6 + `","ip":"2001:0DB8:0001:0000::1","cidr":"2001:DB8:1::1/96"},
		{"id":"` + eip4 + `","ip":"192.0.2.10"},
		{"id":"` + eip4 + `","ip":"x"},
		{"id":"x","ip":"192.0.2.11","cidr":"192.0.2.11/32"},
		{"id":"` + eip4 + `","ip":"192.0.2.12","cidr":"192.0.2.13/32"}]}`}})
	if err := p.(providers.Preparer).Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	sim.SetFaults(nil)
	sim.ClearHistory()
	got := observe(t, p, addr4, addr6a, addr6b)
	if got[addr4].Object != eip4 || got[addr6a].Object != eip6 || got[addr6b].Object != eip6 {
		t.Errorf("want each address with its elastic IP, got %+v", got)
	}
	if !slices.Contains(requests(sim), "GET /instance?ip-address=2001%3A0DB8%3A0001%3A0000%3A%3A1") {
		t.Errorf("want the filter to get the API's own spelling, got %v", requests(sim))
	}
	if n := logs.FilterMessageSnippet("left out").Len(); n != 1 {
		t.Errorf("want one warning about the others, got %d", n)
	}
}
