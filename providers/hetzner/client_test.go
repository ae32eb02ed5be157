package hetzner_test

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/catalog"
	"berth/providers/hetzner"
	"berth/providers/providertest"
	"berth/vrrp"
)

// client returns the provider of the first server, with a section.
func client(t *testing.T, s *cloudsim.Sim, section string) providers.Provider {
	t.Helper()
	d, _ := providertest.Deps(t, s)
	return providertest.Client(t, hetzner.Entry, d, section)
}

const section = "endpoint: http://cloud.invalid/hetzner/api\ntoken: " + token + "\n"

func TestAllPagesAreRead(t *testing.T) {
	a := account()
	for _, ip := range []string{"192.0.2.20/32", "192.0.2.21/32", "192.0.2.22/32"} {
		a.FloatingIPs = append(a.FloatingIPs, cloudsim.FloatingIP{Network: netip.MustParsePrefix(ip), Server: lb2})
	}
	s := providertest.NewSim(t, a)
	last, foreign := netip.MustParseAddr("192.0.2.22"), netip.MustParseAddr("192.0.2.23")
	got, err := client(t, s, section).Observe(t.Context(), []netip.Addr{last, foreign})
	if err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]providers.Holder{
		last:    {Kind: providers.Other, Object: "192.0.2.22/32", Owner: lb2},
		foreign: {Kind: providers.NotManaged},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Error(diff)
	}
	pages := 0
	for _, r := range providertest.Requests(s) {
		if strings.HasPrefix(r, "GET /hetzner/api/floating_ips?") {
			pages++
		}
	}
	if pages != 3 {
		t.Errorf("want 3 pages, got %v", providertest.Requests(s))
	}
}

// The claim is over when the action is, which is asked for at growing intervals.
func TestClaimWaitsForItsAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := account()
		a.OperationTime = time.Second
		s := providertest.NewSim(t, a)
		p := client(t, s, section+"server-id: 1001\n")
		addr := netip.MustParseAddr("192.0.2.10")
		start := time.Now()
		if err := p.Claim(t.Context(), addr, providertest.Permit); err != nil {
			t.Fatal(err)
		}
		if got := s.Holders(addr); !cmp.Equal(got, []string{lb1}) {
			t.Errorf("want %s to have it when the claim returns, got %v", lb1, got)
		}
		// After 100, 300, 700 and 1500 ms.
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("want the claim to take 1.5s, got %v", took)
		}
		want := []string{
			"GET /hetzner/api/floating_ips?page=1&per_page=50",
			"POST /hetzner/api/floating_ips/4711/actions/assign",
			"GET /hetzner/api/actions/1", "GET /hetzner/api/actions/1", "GET /hetzner/api/actions/1", "GET /hetzner/api/actions/1",
		}
		if diff := cmp.Diff(want, providertest.Requests(s)); diff != "" {
			t.Error(diff)
		}
	})
}

// The observation that follows a claim shows how an action ended.
func TestReadingAnActionThatIsRefusedOnceDoesNotUndoAClaim(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 500} {
		synctest.Test(t, func(t *testing.T) {
			a := account()
			a.OperationTime = time.Second
			s := providertest.NewSim(t, a)
			s.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: status, Count: 1, Path: "/hetzner/api/actions/"}})
			addr := netip.MustParseAddr("192.0.2.10")
			if err := client(t, s, section+"server-id: 1001\n").Claim(t.Context(), addr, providertest.Permit); err != nil {
				t.Errorf("%d: want the claim to stand, got %v", status, err)
			}
			time.Sleep(2 * time.Second)
			if got := s.Holders(addr); !cmp.Equal(got, []string{lb1}) {
				t.Errorf("%d: want %s to have it, got %v", status, lb1, got)
			}
		})
	}
}

// A claim that ends without its observation counts as not made, and is made again.
func TestAnActionThatCannotBeReadLeavesTimeForTheObservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := account()
		a.OperationTime = time.Second
		s := providertest.NewSim(t, a)
		const path = "/hetzner/api/actions/"
		s.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 1500 * time.Millisecond, Path: path},
			{Kind: cloudsim.Status, Status: http.StatusServiceUnavailable, Path: path}})
		account := providers.NewAccount("hetzner", client(t, s, section+"server-id: 1001\n"))
		target := account.Target(vrrp.FloatingIP{Prefix: netip.MustParsePrefix("192.0.2.10/32")}, providertest.Permit)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, changed, err := target.Ensure(ctx, true); err != nil || !changed {
			t.Errorf("want the claim made and confirmed, got %v, %v", changed, err)
		}
		time.Sleep(2 * time.Second) // a request that was given up ends
	})
}

func TestFailedActionIsAnErrorWithItsReason(t *testing.T) {
	s := providertest.NewSim(t, account())
	s.SetFaults(cloudsim.Faults{{Kind: cloudsim.OperationFails, Reason: "locked", Method: http.MethodPost}})
	err := client(t, s, section+"server-id: 1001\n").Claim(t.Context(), netip.MustParseAddr("192.0.2.10"), providertest.Permit)
	if err == nil || err.Error() != "hetzner: assign floating IP: action failed: locked: the action failed" {
		t.Errorf("want the reason of the action, got %v", err)
	}
}

func TestMistakesInTheSection(t *testing.T) {
	entry, err := catalog.Providers.Entry("hetzner")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"tokn: x":                             `line 1: hetzner: unknown key "tokn"`,
		"server-id: lb1":                      "line 1: hetzner.server-id: found a text of 3 characters; write the number that the console shows",
		"server-id: -1":                       "line 1: hetzner.server-id: found a number; write the number that the console shows",
		"endpoint: api.hetzner.cloud":         "line 1: hetzner.endpoint: found a text of 17 characters; write a URL such as https://api.hetzner.cloud/v1",
		"endpoint: https://u:secret@x.org":    "line 1: hetzner.endpoint: found a URL with a user, a query or a fragment; write one without, such as https://api.hetzner.cloud/v1",
		"endpoint: \"https://u:secret@%zz/\"": "line 1: hetzner.endpoint: found a text of 21 characters; write a URL such as https://api.hetzner.cloud/v1",
	} {
		if err := entry.Check(providertest.Section(t, text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: want %q, got %v", text, want, err)
		}
	}
}
