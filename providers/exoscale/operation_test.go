package exoscale_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/providertest"
)

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
				sim := providertest.NewSim(t, c)
				d, _ := providertest.Deps(t, sim)
				p := newClient(t, d, certain)
				observe(t, p, addr4)
				sim.SetFaults(cloudsim.Faults{tt.fault})
				err := p.Claim(t.Context(), addr4, providertest.Permit)
				e, _ := errors.AsType[*providers.Error](err)
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("want success, got %v", err)
				case tt.want != "" && (e == nil || !strings.Contains(err.Error(), tt.want) || e.Kind != tt.wantKind):
					t.Errorf("want a %s error with %q, got %v", tt.wantKind, tt.want, err)
				}
				time.Sleep(time.Second)
				if len(sim.Holders(addr4)) == 0 {
					t.Error("no instance has it any more")
				}
				if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
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
		sim := providertest.NewSim(t, c)
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.OperationVanishes}})
		d, _ := providertest.Deps(t, sim)
		if err := newClient(t, d, certain).Claim(t.Context(), addr4, providertest.Permit); err != nil {
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
		sim := providertest.NewSim(t, c)
		d, _ := providertest.Deps(t, sim)
		p := newClient(t, d, certain)
		start := time.Now()
		if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
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
