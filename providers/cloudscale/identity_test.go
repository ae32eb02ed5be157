package cloudscale_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/providertest"
)

func TestWhichServerIsThisHost(t *testing.T) {
	tests := []struct {
		name, text string
		want       string
		wantMeta   bool // the metadata service was asked
		wantWarned bool
	}{
		{"server-uuid comes first", "server-uuid: " + lb2 + "\nhostname-to-server-uuid: {lb1.example.net: " + lb3 + "}", lb2, false, false},
		{"then the host's name in the map", "hostname-to-server-uuid: {lb1.example.net: " + lb3 + ", x: " + lb2 + "}", lb3, false, false},
		{"then the metadata service", "", lb1, true, false},
		{"a map without the host's name is warned about", "hostname-to-server-uuid: {lb1: " + lb3 + "}", lb1, true, true},
		{"a map with nothing for the host is warned about", "hostname-to-server-uuid: {lb1.example.net: }", lb1, true, true},
		{"empty values are none", "server-uuid:\nhostname-to-server-uuid: {}", lb1, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := providertest.NewSim(t, account())
			d, logs := providertest.Deps(t, sim)
			got, err := newClient(t, d, plain+"\n"+tt.text).Self(t.Context())
			if err != nil || got.ID != tt.want {
				t.Errorf("want %s, got %+v, %v", tt.want, got, err)
			}
			if _, err := newClient(t, d, plain+"\n"+tt.text).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
				t.Error(err)
			}
			if asked := slices.Contains(providertest.Requests(sim), meta); asked != tt.wantMeta {
				t.Errorf("metadata asked: want %v, got %v", tt.wantMeta, asked)
			}
			warned := logs.FilterField(zap.String("hostname", "lb1.example.net")).Len() > 0
			if warned != tt.wantWarned || logs.FilterLevelExact(zap.WarnLevel).Len() > 2 {
				t.Errorf("warning that names the host: want %v, got %v", tt.wantWarned, logs.All())
			}
		})
	}
}

func TestMetadataOfAnotherCloudIsTransientAndSaysWhatToDo(t *testing.T) {
	const path = "/openstack/"
	tests := []struct {
		name  string
		fault cloudsim.Fault
		want  string
	}{
		{"no such page", cloudsim.Fault{Kind: cloudsim.Status, Status: 404, Path: path}, "HTTP status 404"},
		{"no content", cloudsim.Fault{Kind: cloudsim.Status, Status: 204, Path: path, Form: cloudsim.FormEmpty}, "status 200 was expected"},
		{"another cloud's", cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Path: path, Body: `{"uuid":"` + lb1 + `","meta":{}}`}, "set server-uuid"},
		{"no UUID", cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Path: path, Body: `{"meta":{"cloudscale_uuid":"../servers"}}`}, "set server-uuid"},
		{"garbage", cloudsim.Fault{Kind: cloudsim.Garbage, Path: path}, "read answer: invalid character"},
		{"too large", cloudsim.Fault{Kind: cloudsim.Huge, Path: path}, "larger than 6291456 bytes"},
		{"redirect", cloudsim.Fault{Kind: cloudsim.Redirect, Path: path, Location: "http://login.example/"}, "redirect to login.example is not followed"},
		{"no answer", cloudsim.Fault{Kind: cloudsim.HangBeforeHeaders, Path: path}, "no answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := providertest.NewSim(t, account())
				sim.SetFaults(cloudsim.Faults{tt.fault})
				d, _ := providertest.Deps(t, sim)
				p := newClient(t, d, plain)
				start := time.Now()
				_, err := p.Self(t.Context())
				e, ok := errors.AsType[*providers.Error](err)
				if !ok || e.Kind != providers.Transient || e.Op != "read metadata" || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("want a transient error with %q, got %v", tt.want, err)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("took %s", took)
				}
				wantRequests(t, sim, meta)
				sim.SetFaults(nil)
				if got, err := p.Self(t.Context()); err != nil || got.ID != lb1 {
					t.Errorf("after it: want %s, got %+v, %v", lb1, got, err)
				}
			})
		})
	}
}

func TestServerThatIsNotOfTheAccount(t *testing.T) {
	d, _ := providertest.Deps(t, providertest.NewSim(t, account()))
	_, err := newClient(t, d, plain+"\nserver-uuid: 99999999-9999-4999-8999-999999999999").Self(t.Context())
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Op != "read own server" || e.Kind != providers.NotFound {
		t.Errorf("want an error that the server is not found, got %v", err)
	}
}

func TestPrepareAsksOnlyForWhatIsNotKnown(t *testing.T) {
	prepare := func(p providers.Provider) error { return p.(providers.Preparer).Prepare(t.Context()) }
	sim := providertest.NewSim(t, account())
	d, _ := providertest.Deps(t, sim)

	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Drop, Count: 1}})
	p := newClient(t, d, plain)
	e, ok := errors.AsType[*providers.Error](prepare(p))
	if !ok || e.Op != "list floating IPs" || e.Kind != providers.Transient {
		t.Errorf("want a transient error of the list, got %v", e)
	}
	for range 2 {
		if err := prepare(p); err != nil {
			t.Error(err)
		}
	}
	wantRequests(t, sim, meta, list, list)

	sim.ClearHistory()
	p = newClient(t, d, plain)
	if err := prepare(p); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim)
	if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, move4)
}

func TestWarmStartClaimsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		d, logs := providertest.Deps(t, sim)
		if _, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
			t.Fatal(err)
		}
		sim.ClearHistory()

		// The next process starts while lists and metadata are down.
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Drop, Method: "GET"}, {Kind: cloudsim.HangBeforeHeaders, Path: "/openstack/"}})
		p := newClient(t, d, plain)
		if err := p.Claim(t.Context(), addr6b, providertest.Permit); err != nil {
			t.Error(err)
		}
		wantRequests(t, sim, move6)
		if got := sim.Holder(network6); got != lb1 {
			t.Errorf("holder: want %s, got %s", lb1, got)
		}

		// A server id that cannot be verified does not delay an observation.
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.HangBeforeHeaders, Path: "/openstack/"}})
		start := time.Now()
		got, err := p.Observe(t.Context(), []netip.Addr{addr6a})
		if err != nil || got[addr6a].Kind != providers.Mine {
			t.Errorf("want mine, got %+v, %v", got, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("observation took %s", took)
		}
		if logs.FilterLevelExact(zap.WarnLevel).Len() != 0 {
			t.Errorf("want no warning, got %v", logs.All())
		}
	})
}

// spoil replaces an id in the file that a process stored.
func spoil(t *testing.T, dir, old, new string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "ids-cloudscale-*.json"))
	if len(files) != 1 {
		t.Fatalf("want one file, got %v", files)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("no %s in %s", old, b)
	}
	if err := os.WriteFile(files[0], []byte(strings.ReplaceAll(string(b), old, new)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWrongCacheDoesNoHarm(t *testing.T) {
	const gone = "99999999-9999-4999-8999-999999999999"
	tests := []struct {
		name     string
		old, new string
		want     []string // requests of the claim
	}{
		{"the server is no longer there", lb1, gone, []string{move4, meta, list, move4}},
		{"the key is another", `"192.0.2.10"`, `"192.0.2.11"`, []string{"PATCH /v1/floating-ips/192.0.2.11", list, move4}},
		{"the address is not in it", "192.0.2.10", "192.0.2.11", []string{list, move4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sim := providertest.NewSim(t, account())
			d, _ := providertest.Deps(t, sim)
			if _, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
				t.Fatal(err)
			}
			spoil(t, d.RunDir, tt.old, tt.new)
			sim.ClearHistory()
			p := newClient(t, d, plain)
			if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
				t.Error(err)
			}
			// Metadata and list are asked at the same time.
			sorted := cmp.Transformer("sort", func(s []string) string { return strings.Join(sortMiddle(s), "\n") })
			if diff := cmp.Diff(tt.want, providertest.Requests(sim), sorted); diff != "" {
				t.Errorf("requests, want-, got+:\n%s", diff)
			}
			if got := sim.Holder(network4); got != lb1 {
				t.Errorf("holder: want %s, got %s", lb1, got)
			}
		})
	}
	t.Run("the server is another one of ours", func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		d, logs := providertest.Deps(t, sim)
		if _, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
			t.Fatal(err)
		}
		spoil(t, d.RunDir, lb1, lb2)
		got, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4})
		if err != nil || got[addr4].Kind != providers.Other {
			t.Errorf("want the first observation to find the mistake, got %+v, %v", got, err)
		}
		if logs.FilterMessage("this host's server id has changed").Len() != 1 {
			t.Errorf("want one warning, got %v", logs.All())
		}
	})
}

// sortMiddle puts requests that run at the same time in a fixed order.
func sortMiddle(s []string) []string {
	s = append([]string(nil), s...)
	for i := 1; i < len(s); i++ {
		if s[i] == meta && s[i-1] == list {
			s[i], s[i-1] = s[i-1], s[i]
		}
	}
	return s
}
