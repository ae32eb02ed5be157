package exoscale_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"berth/internal/cloudsim"
	"berth/providers"
	"berth/providers/exoscale"
	"berth/providers/providertest"
	"berth/refresher"
	"berth/vrrp"
)

func newClient(t testing.TB, d providers.Deps, text string) providers.Provider {
	t.Helper()
	return providertest.Client(t, exoscale.Entry, d, text)
}

const (
	plain   = "key: " + key + "\nsecret: " + secret
	certain = plain + "\nzone: " + zone + "\ninstance-id: " + lb1
)

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

// beMaster does what a host that is MASTER does, with audits, until the returned
// function is called.
func beMaster(ctx context.Context, p providers.Provider, report func(refresher.Report), addrs ...netip.Addr) (stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	account := providers.NewAccount("exoscale", p)
	var wg sync.WaitGroup
	wg.Go(func() { account.Run(ctx) })
	for _, a := range addrs {
		target := account.Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(a, a.BitLen())}, providertest.Permit)
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

func TestPeersAloneAreReadAndDetached(t *testing.T) {
	sim := providertest.NewSim(t, account())
	if err := sim.Attach(network4, lb2, lb4); err != nil {
		t.Fatal(err)
	}
	sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 403, Path: "/v2/instance?"}, {Kind: cloudsim.Status, Status: 403, Path: "/v2/instance/" + lb4}})
	d, _ := providertest.Deps(t, sim)
	p := newClient(t, d, certain+"\npeers: ["+strings.ToUpper(lb2)+", 99999999-9999-4999-8999-999999999999]")
	if got := observe(t, p, addr4, addr6a); got[addr4].Kind != providers.Other || got[addr6a].Kind != providers.Other {
		t.Errorf("want others, got %+v", got)
	}
	sim.ClearHistory()
	if err := p.Claim(t.Context(), addr4, providertest.Permit); err != nil {
		t.Error(err)
	}
	wantRequests(t, sim, attach4, readMe, readPeer, "GET /instance/99999999-9999-4999-8999-999999999999", detach4)
	if got := sim.Holders(addr4); !slices.Equal(got, []string{lb4, lb1}) {
		t.Errorf("holders: want the one that is not a peer to stay attached, got %v", got)
	}
	sim.ClearHistory()
	if got := observe(t, p, addr4, addr6a)[addr4]; got.Kind != providers.Mine {
		t.Errorf("want mine, got %+v", got)
	}
	wantRequests(t, sim, readMe, readPeer, "GET /instance/99999999-9999-4999-8999-999999999999")
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
			sim := providertest.NewSim(t, c)
			d, _ := providertest.Deps(t, sim)
			_, err := newClient(t, d, certain).Self(t.Context())
			if (err == nil) != (tt.want == "") || (err != nil && !strings.HasSuffix(err.Error(), tt.want)) {
				t.Errorf("clock of the server %s ahead: want %q, got %v", tt.skew, tt.want, err)
			}
		})
	}
}

func TestPoolsAndManagedElasticIPsAreToldOnce(t *testing.T) {
	c := account()
	c.Servers[0].Pool = "99999999-9999-4999-8999-999999999999"
	c.ElasticIPs[0].Managed = true
	sim := providertest.NewSim(t, c)
	d, logs := providertest.Deps(t, sim)
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
		t.Errorf("want nothing said about the other address, got %v", logs.All())
	}
}

func TestTextOfTheServerIsShown(t *testing.T) {
	for form, want := range map[cloudsim.Form]string{
		cloudsim.FormMessage: "read own instance: HTTP status 403: simulated: Forbidden",
		cloudsim.FormError:   "read own instance: HTTP status 403: simulated: Forbidden",
		cloudsim.FormProblem: "read own instance: HTTP status 403: simulated: Forbidden; errors: is wrong; errors.location: $['instance']; Forbidden",
	} {
		sim := providertest.NewSim(t, account())
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Status, Status: 403, Form: form}})
		d, _ := providertest.Deps(t, sim)
		_, err := newClient(t, d, certain).Self(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", form, want, err)
		}
	}
}

func TestWrongSectionsAreRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no key", "secret: " + secret, "exoscale.key: missing; write key or key-file, or set the environment variable EXOSCALE_API_KEY"},
		{"no secret", "key: " + key, "exoscale.secret: missing; write secret or secret-file, or set the environment variable EXOSCALE_API_SECRET"},
		{"secret with a line end", "key: " + key + "\nsecret: \"" + secret + "\\n\"", "exoscale.secret: holds a space or another character that none has"},
		{"key with a comma", "key: a,b\nsecret: " + secret, "exoscale.key: holds a space or another character that none has"},
		{"zone in the wrong form", plain + "\nzone: CH/GVA", "line 3: exoscale.zone: found a text of 6 characters; write a zone such as ch-gva-2"},
		{"instance in the wrong form", plain + "\ninstance-id: lb1", "line 3: exoscale.instance-id: found a text of 3 characters; write the UUID of an instance"},
		{"peer in the wrong form", plain + "\npeers: [lb2]", "line 3: exoscale.peers, number 1: found a text of 3 characters; write the UUID of an instance"},
		{"no URL", plain + "\nendpoint: api.exoscale.com", "line 3: exoscale.endpoint: found a text of 16 characters; write a URL such as https://api-ch-gva-2.exoscale.com/v2"},
		{"URL with a password", plain + "\nendpoint: https://u:" + secret + "@h/", "line 3: exoscale.endpoint: found a URL with a user, a query or a fragment; write one without, such as https://api-ch-gva-2.exoscale.com/v2"},
		{"broken URL", plain + "\nendpoint: 'https://u:" + secret + "@h:x/'", "line 3: exoscale.endpoint: found a text of 47 characters; write a URL such as https://api-ch-gva-2.exoscale.com/v2"},
		{"no authorities", plain + "\nca-file: /nonexistent", "exoscale: read ca-file: open /nonexistent: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, _ := providertest.Deps(t, providertest.NewSim(t, account()))
			_, err := exoscale.Entry.New(d, providertest.Section(t, tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}

func TestElasticIPsOfAnyFormAreFound(t *testing.T) {
	const list = "/v2/elastic-ip"
	sim := providertest.NewSim(t, account())
	d, logs := providertest.Deps(t, sim)
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
