package exoscale_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/cloudsim"
	"berth/providers/providertest"
	"berth/refresher"
)

func TestFilterThatIsWrongDetachesNoOtherAndTheEndIsRight(t *testing.T) {
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
					// An elastic IP of other instances, which no request must touch.
					theirs := netip.MustParsePrefix("192.0.2.77/32")
					c.ElasticIPs = append(c.ElasticIPs, cloudsim.ElasticIP{ID: other, Network: theirs, Zone: zone, Servers: []string{innocent, lb2}})
					sim := providertest.NewSim(t, c)
					sim.SetFaults(append(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 20 * time.Millisecond}}, row.faults...))
					d, logs := providertest.Deps(t, sim)
					var thefts atomic.Int64
					stop := beMaster(t.Context(), newClient(t, d, plain), func(r refresher.Report) { thefts.Store(int64(r.Thefts)) }, row.addr)
					time.Sleep(10 * time.Second)
					if got := sim.Holders(row.addr); !slices.Equal(got, []string{lb1}) {
						t.Errorf("holders after 10 s: want %s, got %v", lb1, got)
					}
					if got := detached(sim); !slices.Equal(got, []string{lb2}) {
						t.Errorf("detached: want %s alone, got %v", lb2, got)
					}
					if got := sim.Holders(theirs.Addr()); !slices.Equal(got, []string{innocent, lb2}) {
						t.Errorf("elastic IP of other instances: want it untouched, got %v", got)
					}
					if n := thefts.Load(); n != 0 {
						t.Errorf("want no theft told, got %d", n)
					}
					doubt := logs.FilterMessageSnippet("cannot be relied on").Len()
					if doubt > 1 || (row.faults == nil && doubt != 0) {
						t.Errorf("want at most one line about the filter, got %d", doubt)
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
		sim := providertest.NewSim(t, c)
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 50 * time.Millisecond}})
		d, logs := providertest.Deps(t, sim)
		p := newClient(t, d, plain)
		audits := func() (n int) {
			for _, r := range requests(sim) {
				if r == "GET /instance" {
					n++
				}
			}
			return n
		}
		stop := beMaster(t.Context(), p, nil, addrs...)
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
		gate := sim.Gate("GET", "/v2/instance/00000040")
		stop = beMaster(t.Context(), p, nil, addrs...)
		if _, err := gate.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop()
		sim.ClearHistory()
		gate.Release()
		time.Sleep(3 * time.Hour)
		wantRequests(t, sim)
		if n := logs.FilterMessageSnippet("cannot read the records").Len(); n != 0 {
			t.Errorf("want nothing said of an audit that was broken off, got %v", logs.All())
		}
	})
}

func TestAuditThatIsNotPermittedIsSaidAndTheAddressStaysHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.FilterWithoutIPv6}, {Kind: cloudsim.Status, Status: 403, Path: "/v2/instance/" + lb4}})
		d, logs := providertest.Deps(t, sim)
		owner := ""
		stop := beMaster(t.Context(), newClient(t, d, plain), func(r refresher.Report) { owner = r.Owner }, addr6a)
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

// The filter does not show lb2, which an audit alone can find.
func TestAuditThatIsRefusedOnceIsMadeAgainAfterTheNextObservation(t *testing.T) {
	for _, row := range []struct {
		name   string
		faults cloudsim.Faults
	}{
		{"a record is not permitted", cloudsim.Faults{{Kind: cloudsim.Status, Status: 403, Path: "/v2/instance/" + lb4, Count: 1}}},
		{"the record of the other holder is not found", cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Path: "/v2/instance/" + lb2, Count: 1}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := providertest.NewSim(t, account())
				d, logs := providertest.Deps(t, sim)
				p := newClient(t, d, certain)
				observe(t, p, addr6a) // so that only the audit meets the fault
				sim.SetFaults(append(slices.Clone(row.faults), cloudsim.Fault{Kind: cloudsim.FilterWithoutIPv6}))
				stop := beMaster(t.Context(), p, nil, addr6a)
				time.Sleep(20 * time.Second)
				stop()
				if got := sim.Holders(addr6a); !slices.Equal(got, []string{lb1}) {
					t.Errorf("holders after 20 s: want %s, got %v", lb1, got)
				}
				if n := logs.FilterMessageSnippet("cannot read the records of all instances").Len(); n != 0 {
					t.Errorf("want nothing said of what was refused once, got %v", logs.All())
				}
			})
		})
	}
}

func TestOwnRecordThatIsNotFoundDoesNotMakeAddressesForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Path: "/v2/instance/" + lb1, Until: time.Now().Add(30 * time.Second)}})
		d, _ := providertest.Deps(t, sim)
		stop := beMaster(t.Context(), newClient(t, d, certain), nil, addr4)
		time.Sleep(45 * time.Second)
		stop()
		if got := sim.Holders(addr4); !slices.Equal(got, []string{lb1}) {
			t.Errorf("holders 15 s after the record was found: want %s, got %v", lb1, got)
		}
	})
}
