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
	"gopkg.in/yaml.v3"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/catalog"
	"berth/providers/hetzner"
)

// client returns the provider of the first server, with a section.
func client(t *testing.T, s *cloudsim.Sim, section string) providers.Provider {
	t.Helper()
	p, err := hetzner.New(providers.Deps{
		RunDir:    t.TempDir(),
		Env:       func(string) string { return "" },
		Hostname:  func() (string, error) { return "lb1", nil },
		Secret:    func(_, inline, _, _ string) (string, error) { return inline, nil },
		Transport: s.RoundTripper(),
	}, node(t, section))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func node(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

func may(context.Context) error { return nil }

const section = "endpoint: http://cloud.invalid/hetzner/api\ntoken: " + token + "\n"

// requests are the method and path of all that reached the API.
func requests(s *cloudsim.Sim) (list []string) {
	for _, r := range s.History() {
		list = append(list, r.Method+" "+r.Path)
	}
	return list
}

func TestAllPagesAreRead(t *testing.T) {
	a := account()
	for _, ip := range []string{"192.0.2.20/32", "192.0.2.21/32", "192.0.2.22/32"} {
		a.FloatingIPs = append(a.FloatingIPs, cloudsim.FloatingIP{Network: netip.MustParsePrefix(ip), Server: lb2})
	}
	s := newSim(t, a)
	last, nobody := netip.MustParseAddr("192.0.2.22"), netip.MustParseAddr("192.0.2.23")
	got, err := client(t, s, section).Observe(t.Context(), []netip.Addr{last, nobody})
	if err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]providers.Holder{
		last:   {Kind: providers.Other, Object: "192.0.2.22/32", Owner: lb2},
		nobody: {Kind: providers.NotManaged},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Error(diff)
	}
	pages := 0
	for _, r := range requests(s) {
		if strings.HasPrefix(r, "GET /hetzner/api/floating_ips?") {
			pages++
		}
	}
	if pages != 3 {
		t.Errorf("want 3 pages, got %v", requests(s))
	}
}

// The claim is over when the action is, which is asked for at growing intervals.
func TestClaimWaitsForItsAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := account()
		a.OperationTime = time.Second
		s := newSim(t, a)
		p := client(t, s, section+"server-id: 1001\n")
		addr := netip.MustParseAddr("192.0.2.10")
		start := time.Now()
		if err := p.Claim(t.Context(), addr, may); err != nil {
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
		if diff := cmp.Diff(want, requests(s)); diff != "" {
			t.Error(diff)
		}
	})
}

// The look that follows a claim shows what became of an action.
func TestReadingAnActionThatIsRefusedOnceDoesNotUndoAClaim(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 500} {
		synctest.Test(t, func(t *testing.T) {
			a := account()
			a.OperationTime = time.Second
			s := newSim(t, a)
			s.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: status, Count: 1, Path: "/hetzner/api/actions/"}})
			addr := netip.MustParseAddr("192.0.2.10")
			if err := client(t, s, section+"server-id: 1001\n").Claim(t.Context(), addr, may); err != nil {
				t.Errorf("%d: want the claim to stand, got %v", status, err)
			}
			time.Sleep(2 * time.Second)
			if got := s.Holders(addr); !cmp.Equal(got, []string{lb1}) {
				t.Errorf("%d: want %s to have it, got %v", status, lb1, got)
			}
		})
	}
}

func TestFailedActionIsAnErrorWithItsReason(t *testing.T) {
	s := newSim(t, account())
	s.SetFaults(cloudsim.Faults{{Kind: cloudsim.OperationFails, Reason: "locked", Method: http.MethodPost}})
	err := client(t, s, section+"server-id: 1001\n").Claim(t.Context(), netip.MustParseAddr("192.0.2.10"), may)
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
		if err := entry.Check(node(t, text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: want %q, got %v", text, want, err)
		}
	}
}
