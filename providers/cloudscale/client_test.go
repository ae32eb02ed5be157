package cloudscale_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	"berth/providers/cloudscale"
)

// deps are those of a server lb1 that reaches the simulator in-process.
func deps(t *testing.T, sim *cloudsim.Sim) (providers.Deps, *observer.ObservedLogs) {
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

func section(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

func newClient(t *testing.T, d providers.Deps, text string) providers.Provider {
	t.Helper()
	p, err := cloudscale.Entry.New(d, section(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func permit(context.Context) error { return nil }

const plain = "token: " + token

// requests returns method and path of what the simulator was asked.
func requests(sim *cloudsim.Sim) []string {
	got := []string{}
	for _, r := range sim.History() {
		got = append(got, r.Method+" "+r.Path)
	}
	return got
}

const (
	meta  = "GET /openstack/2017-02-22/meta_data.json"
	list  = "GET /v1/floating-ips"
	move4 = "PATCH /v1/floating-ips/192.0.2.10"
	move6 = "PATCH /v1/floating-ips/2001:db8:1::"
)

func wantRequests(t *testing.T, sim *cloudsim.Sim, want ...string) {
	t.Helper()
	if d := cmp.Diff(append([]string{}, want...), requests(sim)); d != "" {
		t.Errorf("requests, want-, got+:\n%s", d)
	}
}

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
			sim := newSim(t)
			d, logs := deps(t, sim)
			got, err := newClient(t, d, plain+"\n"+tt.text).Self(t.Context())
			if err != nil || got.ID != tt.want {
				t.Errorf("want %s, got %+v, %v", tt.want, got, err)
			}
			if _, err := newClient(t, d, plain+"\n"+tt.text).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
				t.Error(err)
			}
			if asked := slices.Contains(requests(sim), meta); asked != tt.wantMeta {
				t.Errorf("metadata asked: want %v, got %v", tt.wantMeta, asked)
			}
			warned := logs.FilterField(zap.String("hostname", "lb1.example.net")).Len() > 0
			if warned != tt.wantWarned || logs.FilterLevelExact(zap.WarnLevel).Len() > 2 {
				t.Errorf("warning that names the host: want %v, got %v", tt.wantWarned, logs.All())
			}
		})
	}
}

func TestMetadataThatIsNoneIsTransientAndSaysWhatToDo(t *testing.T) {
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
				sim := newSim(t)
				sim.SetFaults(cloudsim.Faults{tt.fault})
				d, _ := deps(t, sim)
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

func TestWarmStartClaimsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t)
		d, logs := deps(t, sim)
		if _, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
			t.Fatal(err)
		}
		sim.ClearHistory()

		// The next process starts while lists and metadata are down.
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Drop, Method: "GET"}, {Kind: cloudsim.HangBeforeHeaders, Path: "/openstack/"}})
		p := newClient(t, d, plain)
		if err := p.Claim(t.Context(), addr6b, permit); err != nil {
			t.Error(err)
		}
		wantRequests(t, sim, move6)
		if got := sim.Holder(network6); got != lb1 {
			t.Errorf("holder: want %s, got %s", lb1, got)
		}

		// That the id of the server cannot be verified does not hold up a look.
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.HangBeforeHeaders, Path: "/openstack/"}})
		start := time.Now()
		got, err := p.Observe(t.Context(), []netip.Addr{addr6a})
		if err != nil || got[addr6a].Kind != providers.Mine {
			t.Errorf("want mine, got %+v, %v", got, err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("look took %s", took)
		}
		if logs.FilterLevelExact(zap.WarnLevel).Len() != 0 {
			t.Errorf("want no warning, got %v", logs.All())
		}
	})
}

// spoil puts a server id, or other objects, into the file that a process kept.
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
			sim := newSim(t)
			d, _ := deps(t, sim)
			if _, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
				t.Fatal(err)
			}
			spoil(t, d.RunDir, tt.old, tt.new)
			sim.ClearHistory()
			p := newClient(t, d, plain)
			if err := p.Claim(t.Context(), addr4, permit); err != nil {
				t.Error(err)
			}
			// Metadata and list are asked at the same time.
			sorted := cmp.Transformer("sort", func(s []string) string { return strings.Join(sortMiddle(s), "\n") })
			if diff := cmp.Diff(tt.want, requests(sim), sorted); diff != "" {
				t.Errorf("requests, want-, got+:\n%s", diff)
			}
			if got := sim.Holder(network4); got != lb1 {
				t.Errorf("holder: want %s, got %s", lb1, got)
			}
		})
	}
	t.Run("the server is another one of ours", func(t *testing.T) {
		sim := newSim(t)
		d, logs := deps(t, sim)
		if _, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4}); err != nil {
			t.Fatal(err)
		}
		spoil(t, d.RunDir, lb1, lb2)
		got, err := newClient(t, d, plain).Observe(t.Context(), []netip.Addr{addr4})
		if err != nil || got[addr4].Kind != providers.Other {
			t.Errorf("want the first look to find the mistake, got %+v, %v", got, err)
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

func TestRefusalThatLastsIsTriedAgainOnce(t *testing.T) {
	// The floating IP is regional and this server is in another region.
	sim := newSim(t)
	d, _ := deps(t, sim)
	p := newClient(t, d, plain+"\nserver-uuid: "+lb3)
	if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
		t.Fatal(err)
	}
	sim.ClearHistory()
	err := p.Claim(t.Context(), addr4, permit)
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != providers.Invalid || !strings.Contains(err.Error(), "same region") {
		t.Errorf("want the server's words as an invalid request, got %v", err)
	}
	wantRequests(t, sim, move4, list, move4)
}

func TestClaimsOfOneNetworkShareARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t)
		d, _ := deps(t, sim)
		p := newClient(t, d, plain)
		if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
			t.Fatal(err)
		}
		sim.ClearHistory()
		hold := sim.Hold("PATCH", "/v1/")
		reason := errors.New("demoted")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.Claim(ctx, addr6a, permit); !errors.Is(err, reason) || !errors.Is(err, context.Canceled) {
				t.Errorf("who is demoted: want the cause, got %v", err)
			}
		})
		if _, err := hold.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := p.Claim(t.Context(), addr6b, permit); err != nil {
				t.Errorf("who stays: %v", err)
			}
		})
		synctest.Wait()
		cancel(reason)
		synctest.Wait()
		hold.Release()
		wg.Wait()
		wantRequests(t, sim, move6)
		if got := sim.Holder(network6); got != lb1 {
			t.Errorf("holder: want %s, got %s", lb1, got)
		}
	})
}

func TestClaimsOfABurstLookUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := newSim(t)
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 50 * time.Millisecond}})
		d, _ := deps(t, sim)
		p := newClient(t, d, plain)
		start := time.Now()
		var wg sync.WaitGroup
		for _, a := range []netip.Addr{addr4, addr6a, addr6b, balanced} {
			wg.Go(func() {
				if err := p.Claim(t.Context(), a, permit); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("want one look-up and then all moves at once, 100ms, got %s", took)
		}
		count := map[string]int{}
		for _, r := range requests(sim) {
			count[r]++
		}
		want := map[string]int{meta: 1, list: 1, move4: 1, move6: 1, "PATCH /v1/floating-ips/192.0.2.20": 1}
		if d := cmp.Diff(want, count); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}

func TestHoldersAreNamedForPeople(t *testing.T) {
	sim := newSim(t)
	d, _ := deps(t, sim)
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
	sim := newSim(t)
	body := `[{"network":"2001:DB8:0001::/56","server":null},{"network":"192.0.2.10","server":{"uuid":"` + lb1 + `"},"created_at":7,"tags":[]},
		{"network":"2001:db8:1::7/128","server":{"uuid":"` + lb2 + `"}},{"network":"next-year/129"},{"network":"2001:db8:2::5/56"}]`
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 200, Method: "GET", Body: body}})
	d, logs := deps(t, sim)
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

func TestEndpointInAnySpelling(t *testing.T) {
	for _, tt := range []struct{ suffix, wantPath string }{
		{"", "/v1/floating-ips"},
		{"/", "/v1/floating-ips"},
		{"/v1", "/v1/floating-ips"},
		{"/v1/", "/v1/floating-ips"},
		{"/prefix", "/prefix/v1/floating-ips"},
		{"/prefix/", "/prefix/v1/floating-ips"},
		{"/prefix/v1/", "/prefix/v1/floating-ips"},
		{"/v1x", "/v1x/v1/floating-ips"},
	} {
		t.Run("endpoint ending in "+tt.suffix, func(t *testing.T) {
			var got, agent string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, agent = r.URL.Path, r.UserAgent()
				w.Write([]byte("[]"))
			}))
			defer srv.Close()
			// The SDK reads this variable behind everybody's back.
			t.Setenv("CLOUDSCALE_API_URL", "http://192.0.2.1/")
			d, logs := deps(t, newSim(t))
			d.Transport = nil
			d.Env = os.Getenv
			p := newClient(t, d, plain+"\nserver-uuid: "+lb1+"\nendpoint: "+srv.URL+tt.suffix)
			if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
				t.Fatal(err)
			}
			if got != tt.wantPath || !strings.HasPrefix(agent, "berth/test cloudscale/") {
				t.Errorf("want %s for berth/test, got %s for %s", tt.wantPath, got, agent)
			}
			if logs.FilterField(zap.String("variable", "CLOUDSCALE_API_URL")).Len() != 1 {
				t.Errorf("want a warning that the variable is ignored, got %v", logs.All())
			}
		})
	}
}

func TestTokenOverTheOpenNetworkIsWarnedAbout(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"http://127.0.0.1:8080": false, "http://[::1]:8080": false, "http://localhost": false, "https://api.example": false,
		"http://192.0.2.1": true, "http://api.example": true,
	} {
		d, logs := deps(t, newSim(t))
		newClient(t, d, plain+"\nserver-uuid: "+lb1+"\nendpoint: "+endpoint)
		if got := logs.FilterMessage("token is sent in clear text").Len() == 1; got != want {
			t.Errorf("%s: want a warning %v, got %v", endpoint, want, logs.All())
		}
	}
}

func TestWrongSectionsAreRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no token", "server-uuid: " + lb1, "cloudscale.token: missing; write token or token-file, or set the environment variable CLOUDSCALE_API_TOKEN"},
		{"token with a line end", `token: "` + token + `\n"`, "cloudscale.token: holds a space or another character that none has"},
		{"token with a letter beyond ASCII", `token: "` + token + `é"`, "cloudscale.token: holds a space or another character that none has"},
		{"unknown key", plain + "\nserver_uuid: x", `line 2: cloudscale: unknown key "server_uuid"; did you mean server-uuid?`},
		{"no URL", plain + "\nendpoint: api.cloudscale.ch", "line 2: cloudscale.endpoint: found a text of 17 characters; write a URL such as https://api.cloudscale.ch/"},
		{"broken URL", plain + "\nendpoint: 'https://u:" + token + "@h:x/'", "line 2: cloudscale.endpoint: found a text of 47 characters; write a URL such as https://api.cloudscale.ch/"},
		{"server that is none", plain + "\nserver-uuid: ../floating-ips", "line 2: cloudscale.server-uuid: found a text of 15 characters; write the UUID of a server"},
		{"server of another host that is none", plain + "\nhostname-to-server-uuid:\n  lb1: " + lb1 + "\n  lb2: x", "line 4: cloudscale.hostname-to-server-uuid: found a text of 1 character; write the UUID of a server"},
		{"URL with a password", plain + "\nendpoint: https://u:" + token + "@h/", "line 2: cloudscale.endpoint: found a URL with a user, a query or a fragment; write one without, such as https://api.cloudscale.ch/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := deps(t, newSim(t))
			_, err := cloudscale.Entry.New(d, section(t, tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}

func TestTokenComesFromTheResolver(t *testing.T) {
	sim := newSim(t)
	d, _ := deps(t, sim)
	var asked []string
	d.Secret = func(name, inline, file, env string) (string, error) {
		asked = []string{name, inline, file, env}
		return token, nil
	}
	p := newClient(t, d, "token-file: /run/credentials/token")
	if _, err := p.Observe(t.Context(), []netip.Addr{addr4}); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"token", "", "/run/credentials/token", "CLOUDSCALE_API_TOKEN"}, asked); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
	unreadable := errors.New("file can be read by others")
	d.Secret = func(string, string, string, string) (string, error) { return "", unreadable }
	if _, err := cloudscale.Entry.New(d, section(t, plain)); !errors.Is(err, unreadable) {
		t.Errorf("want %v, got %v", unreadable, err)
	}
}

func TestServerThatIsNotOfTheAccount(t *testing.T) {
	d, _ := deps(t, newSim(t))
	_, err := newClient(t, d, plain+"\nserver-uuid: 99999999-9999-4999-8999-999999999999").Self(t.Context())
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Op != "read own server" || e.Kind != providers.NotFound {
		t.Errorf("want that the server is not found, got %v", err)
	}
}

func TestPrepareAsksOnlyForWhatIsNotKnown(t *testing.T) {
	prepare := func(p providers.Provider) error { return p.(providers.Preparer).Prepare(t.Context()) }
	sim := newSim(t)
	d, _ := deps(t, sim)

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
	if err := p.Claim(t.Context(), addr4, permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, move4)
}
