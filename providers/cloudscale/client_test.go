package cloudscale_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/cloudscale"
	"berth/providers/providertest"
)

func newClient(t testing.TB, d providers.Deps, text string) providers.Provider {
	t.Helper()
	return providertest.Client(t, cloudscale.Entry, d, text)
}

const plain = "token: " + token

const (
	meta  = "GET /openstack/2017-02-22/meta_data.json"
	list  = "GET /v1/floating-ips"
	move4 = "PATCH /v1/floating-ips/192.0.2.10"
	move6 = "PATCH /v1/floating-ips/2001:db8:1::"
)

func wantRequests(t *testing.T, sim *cloudsim.Sim, want ...string) {
	t.Helper()
	if d := cmp.Diff(append([]string{}, want...), providertest.Requests(sim)); d != "" {
		t.Errorf("requests, want-, got+:\n%s", d)
	}
}

func TestRefusalThatLastsIsTriedAgainOnce(t *testing.T) {
	// The floating IP is regional and this server is in another region.
	sim := providertest.NewSim(t, account())
	d, _ := providertest.Deps(t, sim)
	p := newClient(t, d, plain+"\nserver-uuid: "+lb3)
	if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
		t.Fatal(err)
	}
	sim.ClearHistory()
	err := p.Claim(t.Context(), addr4, providertest.Permit)
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != providers.Invalid || !strings.Contains(err.Error(), "same region") {
		t.Errorf("want the text of the server as an invalid request, got %v", err)
	}
	wantRequests(t, sim, move4, list, move4)
}

func TestClaimsOfOneNetworkShareARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		d, _ := providertest.Deps(t, sim)
		p := newClient(t, d, plain)
		if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
			t.Fatal(err)
		}
		sim.ClearHistory()
		gate := sim.Gate("PATCH", "/v1/")
		reason := errors.New("demoted")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.Claim(ctx, addr6a, providertest.Permit); !errors.Is(err, reason) || !errors.Is(err, context.Canceled) {
				t.Errorf("the demoted one: want the cause, got %v", err)
			}
		})
		if _, err := gate.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := p.Claim(t.Context(), addr6b, providertest.Permit); err != nil {
				t.Errorf("the one that stays: %v", err)
			}
		})
		synctest.Wait()
		cancel(reason)
		synctest.Wait()
		gate.Release()
		wg.Wait()
		wantRequests(t, sim, move6)
		if got := sim.Holder(network6); got != lb1 {
			t.Errorf("holder: want %s, got %s", lb1, got)
		}
	})
}

func TestClaimsOfABurstLookUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 50 * time.Millisecond}})
		d, _ := providertest.Deps(t, sim)
		p := newClient(t, d, plain)
		start := time.Now()
		var wg sync.WaitGroup
		for _, a := range []netip.Addr{addr4, addr6a, addr6b, balanced} {
			wg.Go(func() {
				if err := p.Claim(t.Context(), a, providertest.Permit); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("want one look-up and then all moves at once, 100ms, got %s", took)
		}
		count := map[string]int{}
		for _, r := range providertest.Requests(sim) {
			count[r]++
		}
		want := map[string]int{meta: 1, list: 1, move4: 1, move6: 1, "PATCH /v1/floating-ips/192.0.2.20": 1}
		if d := cmp.Diff(want, count); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}

func TestHoldersAreNamedForPeople(t *testing.T) {
	sim := providertest.NewSim(t, account())
	d, _ := providertest.Deps(t, sim)
	p := newClient(t, d, plain+"\nhostname-to-server-uuid: {lb1.example.net: "+strings.ToUpper(lb1)+", lb2.example.net: "+strings.ToUpper(lb2)+"}")
	if err := sim.Assign(network4, lb1); err != nil {
		t.Fatal(err)
	}
	got, err := p.Observe(t.Context(), []netip.Addr{addr4, addr6a, balanced, foreign})
	if err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]providers.Holder{
		addr4:    {Kind: providers.Mine, Object: "192.0.2.10/32", Owner: lb1},
		addr6a:   {Kind: providers.Other, Object: "2001:db8:1::/56", Owner: "lb2.example.net (" + lb2 + ")"},
		balanced: {Kind: providers.NotServer, Object: "192.0.2.20/32", Owner: "load balancer web"},
		foreign:  {Kind: providers.NotManaged},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
	wantRequests(t, sim, list)
}

func TestNetworksInAnySpelling(t *testing.T) {
	sim := providertest.NewSim(t, account())
	body := `[{"network":"2001:DB8:0001::/56","server":null},{"network":"192.0.2.10","server":{"uuid":"` + lb1 + `"},"created_at":7,"tags":[]},
		{"network":"2001:db8:1::7/128","server":{"uuid":"` + lb2 + `"}},{"network":"next-year/129"},{"network":"2001:db8:2::5/56"}]`
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 200, Method: "GET", Body: body}})
	d, logs := providertest.Deps(t, sim)
	p := newClient(t, d, plain)
	inside, smaller, bits := netip.MustParseAddr("2001:db8:1::8"), netip.MustParseAddr("2001:db8:1::7"), netip.MustParseAddr("2001:db8:2:1::1")
	for range 2 {
		got, err := p.Observe(t.Context(), []netip.Addr{addr4, inside, smaller, bits})
		if err != nil {
			t.Fatal(err)
		}
		want := map[netip.Addr]providers.Holder{
			addr4:   {Kind: providers.Mine, Object: "192.0.2.10/32", Owner: lb1},
			inside:  {Kind: providers.Nobody, Object: "2001:db8:1::/56"},
			smaller: {Kind: providers.Other, Object: "2001:db8:1::7/128", Owner: lb2},
			bits:    {Kind: providers.Nobody, Object: "2001:db8:2::/56"},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	}
	if logs.FilterMessage("floating IPs that cannot be read are left out").Len() != 1 {
		t.Errorf("want one warning, got %v", logs.All())
	}
}
