package associate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/associate"
	"berth/internal/cloudsim"
	"berth/internal/journal"
	"berth/providers"
	"berth/providers/catalog"
	"berth/providers/providertest"
	"berth/refresher"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

const (
	lb1    = "1001" // this host
	lb2    = "1002"
	eipID  = "e0000000-0000-4000-8000-000000000004"
	region = "ch-gva-2"
)

var (
	one    = netip.MustParseAddr("192.0.2.10")
	two    = netip.MustParseAddr("192.0.2.20")
	six    = netip.MustParseAddr("2001:db8:1::a")
	stray  = netip.MustParseAddr("192.0.2.99")
	policy = refresher.Policy{InitialInterval: time.Second, Multiplier: 1.5, MaxInterval: 10 * time.Second}
)

// account has two addresses and a network with lb2, at Hetzner and at cloudscale.
func account() cloudsim.Config {
	return cloudsim.Config{Token: "token", Key: "key", Secret: "secret", OperationTime: 400 * time.Millisecond, Seed: 1,
		Servers: []cloudsim.Server{{UUID: lb1, Name: "lb1", Region: region}, {UUID: lb2, Name: "lb2", Region: region}},
		FloatingIPs: []cloudsim.FloatingIP{
			{Network: netip.PrefixFrom(one, 32), Server: lb2}, {Network: netip.PrefixFrom(two, 32)},
			{Network: netip.MustParsePrefix("2001:db8:1::/64"), Server: lb2}},
	}
}

// run runs Run in virtual time, with a provider of the account, and returns what it
// printed and its error.
func run(t *testing.T, sim *cloudsim.Sim, name, section string, o associate.Options) (string, *observer.ObservedLogs, error) {
	t.Helper()
	d, _ := providertest.Deps(t, sim)
	core, logs := observer.New(zapcore.InfoLevel)
	var out bytes.Buffer
	o.Name, o.Provider, o.Out, o.Journal = name, providertest.Client(t, catalog.Providers[name], d, section), &out, journal.New(zap.New(core))
	if o.Policy == (refresher.Policy{}) {
		o.Policy = policy
	}
	err := associate.Run(t.Context(), o)
	return out.String(), logs, err
}

const (
	hetzner    = "endpoint: http://cloud.invalid/hetzner/api\ntoken: token\nserver-id: 1001\n"
	cloudscale = "token: token\nserver-uuid: \"11111111-1111-4111-8111-111111111111\"\n"
)

// writes returns the requests that change something.
func writes(sim *cloudsim.Sim) (n int) {
	for _, r := range sim.History() {
		if r.Write {
			n++
		}
	}
	return n
}

// timeless has the times of lines replaced.
func timeless(text string) string {
	return regexp.MustCompile(`after [0-9.hms]+`).ReplaceAllString(text, "after T")
}

func TestAddressesAreMovedOnceAndToldInTheOrderGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		all := []netip.Addr{two, six, one}
		steps := []struct {
			release bool
			want    string
			writes  int
		}{
			{false, "192.0.2.20: associated after T; pointed nowhere, is now here\n" +
				"2001:db8:1::a: associated after T; was with 1002, is now here\n" +
				"192.0.2.10: associated after T; was with 1002, is now here\n", 3},
			{false, "192.0.2.20: unchanged; is here\n2001:db8:1::a: unchanged; is here\n192.0.2.10: unchanged; is here\n", 0},
			{true, "192.0.2.20: dissociated after T; was here, now points nowhere\n" +
				"2001:db8:1::a: dissociated after T; was here, now points nowhere\n" +
				"192.0.2.10: dissociated after T; was here, now points nowhere\n", 3},
			{true, "192.0.2.20: unchanged; points nowhere\n2001:db8:1::a: unchanged; points nowhere\n192.0.2.10: unchanged; points nowhere\n", 0},
		}
		for i, s := range steps {
			sim.ClearHistory()
			start := time.Now()
			got, _, err := run(t, sim, "hetzner", hetzner, associate.Options{Release: s.release, Addresses: all})
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
			if diff := cmp.Diff(s.want, timeless(got)); diff != "" {
				t.Errorf("%d: want-, got+:\n%s", i, diff)
			}
			if n := writes(sim); n != s.writes {
				t.Errorf("%d: want %d writes, got %d", i, s.writes, n)
			}
			if took := time.Since(start); took > 1500*time.Millisecond {
				t.Errorf("%d: took %v, although all are moved at the same time", i, took)
			}
		}
		if got, want := len(sim.History()), 2; got != want {
			t.Errorf("an idle run: want one list for all addresses, with its %d pages, got %d calls", want, got)
		}
	})
}

func TestAddressOfAnotherServerIsNotReleased(t *testing.T) {
	sim := providertest.NewSim(t, account())
	got, _, err := run(t, sim, "hetzner", hetzner, associate.Options{Release: true, Addresses: []netip.Addr{one}})
	if want := "192.0.2.10: unchanged; is with 1002\n"; err != nil || got != want || writes(sim) != 0 {
		t.Errorf("want %q without a write, got %q, %v, %d writes", want, got, err, writes(sim))
	}
}

func TestProviderThatCannotReleaseIsToldBeforeAnyCall(t *testing.T) {
	sim := providertest.NewSim(t, account())
	got, _, err := run(t, sim, "cloudscale", cloudscale, associate.Options{Release: true, Addresses: []netip.Addr{one}})
	if !errors.Is(err, associate.ErrImpossible) || !strings.Contains(err.Error(), "run berth associate on the host that is to have the address") {
		t.Errorf("want an error that says what to do, got %v", err)
	}
	if got != "" || len(sim.History()) != 0 {
		t.Errorf("want no output and no call, got %q, %d", got, len(sim.History()))
	}
}

func TestForeignAddressListsThoseOfTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		got, _, err := run(t, sim, "hetzner", hetzner, associate.Options{Addresses: []netip.Addr{stray, one}})
		want := "192.0.2.99: hetzner: find floating IP: 192.0.2.99 is not a floating IP of this account; the account has 192.0.2.10, 192.0.2.20, 2001:db8:1::/64"
		if err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
		if want := "192.0.2.99: not associated after T\n192.0.2.10: associated after T; was with 1002, is now here\n"; timeless(got) != want {
			t.Errorf("want the other moved all the same, got %q", got)
		}
	})
}

func TestDryRunLooksAndWritesNothing(t *testing.T) {
	sim := providertest.NewSim(t, account())
	if err := sim.Assign(netip.PrefixFrom(two, 32), lb1); err != nil {
		t.Fatal(err)
	}
	for release, want := range map[bool]string{
		false: "192.0.2.10: would associate; is with 1002\n192.0.2.20: unchanged; is here\n",
		true:  "192.0.2.10: unchanged; is with 1002\n192.0.2.20: would dissociate; is here\n",
	} {
		got, _, err := run(t, sim, "hetzner", hetzner, associate.Options{Release: release, Addresses: []netip.Addr{one, two}, DryRun: true})
		if err != nil || got != want {
			t.Errorf("want %q, got %q, %v", want, got, err)
		}
	}
	if writes(sim) != 0 {
		t.Errorf("want no write, got %d", writes(sim))
	}
	var out bytes.Buffer
	if err := associate.Run(t.Context(), associate.Options{Name: "fake", DryRun: true, Addresses: []netip.Addr{one}, Out: &out}); err != nil || out.String() != "192.0.2.10: would associate\n" {
		t.Errorf("without a provider: got %q, %v", out.String(), err)
	}
}

func TestAttemptIsRepeatedUntilItSucceedsOrTheWaitIsOver(t *testing.T) {
	down := cloudsim.Fault{Kind: cloudsim.Status, Status: 503}
	rows := []struct {
		name   string
		faults cloudsim.Faults
		lasts  time.Duration
		wait   time.Duration
		want   string // of the line
		err    string // part of the error, "" for none
		told   int    // lines of the log
	}{
		{"one attempt without a wait", cloudsim.Faults{down}, time.Minute, 0, "192.0.2.10: not associated after T\n", "HTTP status 503", 0},
		{"without an end", cloudsim.Faults{down}, time.Hour, associate.Forever, "192.0.2.10: associated after T; was with 1002, is now here\n", "", 2},
		{"refused for a while, as by a gateway that is deployed", cloudsim.Faults{{Kind: cloudsim.Status, Status: 403}}, 20 * time.Second, time.Minute,
			"192.0.2.10: associated after T; was with 1002, is now here\n", "", 2},
		{"for too long", cloudsim.Faults{down}, time.Minute, 30 * time.Second, "192.0.2.10: not associated after T\n", "gave up after --wait=30s", 1},
		{"for too long, which ends an attempt", cloudsim.Faults{{Kind: cloudsim.Status, Status: 503, Count: 1}, {Kind: cloudsim.Slow, Latency: 9 * time.Second}}, time.Minute, 11 * time.Second,
			"192.0.2.10: not associated after T\n", "HTTP status 503: simulated: Service Unavailable (gave up after --wait=11s)", 1},
		{"accepted and never carried out, for too long", cloudsim.Faults{{Kind: cloudsim.AcceptedOnly}}, time.Hour, 30 * time.Second,
			"192.0.2.10: not associated after T; is with 1002\n", "hetzner: the API accepted the request, but the address is with 1002 (gave up after --wait=30s)", 1},
		{"the answer is lost", cloudsim.Faults{{Kind: cloudsim.LostResponse, Method: "POST", Count: 1}}, time.Hour, time.Minute,
			"192.0.2.10: associated after T; was with 1002, is now here\n", "", 2},
		{"the answer is lost, and nothing is repeated", cloudsim.Faults{{Kind: cloudsim.LostResponse, Method: "POST", Count: 1}}, time.Hour, 0,
			"192.0.2.10: not associated after T; is here\n", "assign floating IP", 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := account()
				c.OperationTime = 0
				sim := providertest.NewSim(t, c)
				for i := range row.faults {
					row.faults[i].Until = time.Now().Add(row.lasts)
				}
				sim.SetFaults(row.faults)
				start := time.Now()
				got, logs, err := run(t, sim, "hetzner", hetzner, associate.Options{Addresses: []netip.Addr{one}, Wait: row.wait})
				if timeless(got) != row.want {
					t.Errorf("want %q, got %q", row.want, got)
				}
				if (err == nil) != (row.err == "") || (err != nil && !strings.Contains(err.Error(), row.err)) {
					t.Errorf("want an error with %q, got %v", row.err, err)
				}
				if logs.Len() != row.told {
					t.Errorf("want %d lines of the log, got %v", row.told, logs.All())
				}
				if took := time.Since(start); row.wait > 0 && took > row.wait+lastLook {
					t.Errorf("took %v, want at most %v and a last look", took, row.wait)
				}
				time.Sleep(10 * time.Second) // what was begun ends
			})
		})
	}
}

// lastLook is more than the last look takes.
const lastLook = time.Second

func TestInterruptEndsWithWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		gate := sim.Gate("POST", "/")
		d, _ := providertest.Deps(t, sim)
		ctx, cancel := context.WithCancelCause(t.Context())
		var out bytes.Buffer
		ended := make(chan error)
		go func() {
			ended <- associate.Run(ctx, associate.Options{Name: "hetzner", Provider: providertest.Client(t, catalog.Providers["hetzner"], d, hetzner),
				Addresses: []netip.Addr{one}, Wait: associate.Forever, Policy: policy, Out: &out})
		}()
		if _, err := gate.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		cancel(errors.New("interrupt signal received"))
		start := time.Now()
		err := <-ended
		if err == nil || !strings.Contains(err.Error(), "interrupt signal received") || time.Since(start) > 100*time.Millisecond {
			t.Errorf("want the cause at once, got %v after %v", err, time.Since(start))
		}
		if want := "192.0.2.10: not associated after T; it is not known where the address is now\n"; timeless(out.String()) != want {
			t.Errorf("want %q, got %q", want, out.String())
		}
		gate.Release()
		time.Sleep(time.Second)
	})
}

func TestCheckForbidsTheWrite(t *testing.T) {
	for _, release := range []bool{false, true} {
		sim := providertest.NewSim(t, account())
		if release {
			if err := sim.Assign(netip.PrefixFrom(one, 32), lb1); err != nil {
				t.Fatal(err)
			}
		}
		forbidden := errors.New("fenced")
		_, _, err := run(t, sim, "hetzner", hetzner, associate.Options{Release: release, Addresses: []netip.Addr{one}, Check: func(context.Context) error { return forbidden }})
		if !errors.Is(err, forbidden) || writes(sim) != 0 {
			t.Errorf("release %v: want the error of the check and no write, got %v, %d writes", release, err, writes(sim))
		}
	}
}

func TestDocumentHasEachAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := providertest.NewSim(t, account())
		if err := sim.Assign(netip.PrefixFrom(two, 32), lb1); err != nil {
			t.Fatal(err)
		}
		got, _, err := run(t, sim, "hetzner", hetzner, associate.Options{Addresses: []netip.Addr{one, two, stray}, JSON: true})
		if err == nil {
			t.Error("want the error of the foreign address")
		}
		type holder struct{ Kind, Owner string }
		type address struct {
			Address, Outcome string
			Was, Is          holder
			Took             float64 `json:"took_seconds"`
			Error            string
		}
		var doc struct{ Addresses []address }
		if err := json.Unmarshal([]byte(got), &doc); err != nil {
			t.Fatal(err)
		}
		if len(doc.Addresses) == 3 && doc.Addresses[0].Took < 0.4 {
			t.Errorf("want the time of the move, got %v", doc.Addresses[0].Took)
		}
		for i := range doc.Addresses {
			doc.Addresses[i].Took = 0
			doc.Addresses[i].Error, _, _ = strings.Cut(doc.Addresses[i].Error, ":")
		}
		here := holder{"here", lb1}
		want := []address{
			{"192.0.2.10", "associated", holder{"other", lb2}, here, 0, ""},
			{"192.0.2.20", "unchanged", here, here, 0, ""},
			{"192.0.2.99", "failed", holder{}, holder{}, 0, "hetzner"},
		}
		if diff := cmp.Diff(want, doc.Addresses); diff != "" {
			t.Errorf("want-, got+:\n%s\n%s", diff, got)
		}
	})
}

// asked is a provider that can be told and not asked, as a webhook.
type asked struct {
	*providers.Claims
	told []string
}

func (a *asked) Observe(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	return a.Holders(addrs, "this host"), nil
}

func (a *asked) Claim(_ context.Context, addr netip.Addr, _ func(context.Context) error) error {
	a.told = append(a.told, "claim")
	a.Made(addr)
	return nil
}

func (a *asked) Release(_ context.Context, addr netip.Addr, _ func(context.Context) error) error {
	a.told = append(a.told, "release")
	a.Ended(addr)
	return nil
}

func (a *asked) Self(context.Context) (providers.Server, error) { return providers.Server{}, nil }

func TestProviderThatCannotBeAskedIsToldEachTime(t *testing.T) {
	a := &asked{Claims: providers.NewClaims(time.Hour)}
	for i, release := range []bool{true, false, false, true} {
		var out bytes.Buffer
		o := associate.Options{Release: release, Name: "webhook", Provider: a, Addresses: []netip.Addr{one}, Out: &out}
		if err := associate.Run(t.Context(), o); err != nil || !strings.Contains(out.String(), "the provider has accepted it, and cannot be asked where the address is") {
			t.Errorf("%d: got %q, %v", i, out.String(), err)
		}
	}
	if want := []string{"release", "claim", "claim", "release"}; !slices.Equal(want, a.told) {
		t.Errorf("want %v, got %v", want, a.told)
	}
}

func TestElasticIPWithAnotherBesideIsTakenFromIt(t *testing.T) {
	const me, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	section := "key: key\nsecret: secret\nzone: " + region + "\ninstance-id: " + me + "\n"
	synctest.Test(t, func(t *testing.T) {
		c := account()
		c.FloatingIPs = nil
		c.Servers = []cloudsim.Server{{UUID: me, Name: "lb1", Region: region}, {UUID: other, Name: "lb2", Region: region}}
		c.ElasticIPs = []cloudsim.ElasticIP{{ID: eipID, Network: netip.PrefixFrom(one, 32), Zone: region, Servers: []string{other, me}}}
		for _, row := range []struct {
			release bool
			want    string
			holders []string
		}{
			{false, "192.0.2.10: associated after T; was with lb2 (" + other + ") beside this host, is now here\n", []string{me}},
			{true, "192.0.2.10: dissociated after T; was with lb2 (" + other + ") beside this host, is now with lb2 (" + other + ")\n", []string{other}},
		} {
			sim := providertest.NewSim(t, c)
			got, _, err := run(t, sim, "exoscale", section, associate.Options{Release: row.release, Addresses: []netip.Addr{one}})
			if err != nil || timeless(got) != row.want || !slices.Equal(sim.Holders(one), row.holders) {
				t.Errorf("want %q, got %q, %v, %v", row.want, got, err, sim.Holders(one))
			}
		}
	})
}

// With 8 s for each call the whole move has its time.
func TestSlowAPIHasItsTime(t *testing.T) {
	const me, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	synctest.Test(t, func(t *testing.T) {
		c := account()
		c.Servers = []cloudsim.Server{{UUID: me, Name: "lb1", Region: region}, {UUID: other, Name: "lb2", Region: region}}
		c.FloatingIPs = nil
		c.ElasticIPs = []cloudsim.ElasticIP{{ID: eipID, Network: netip.PrefixFrom(one, 32), Zone: region, Servers: []string{other}}}
		sim := providertest.NewSim(t, c)
		sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: 8 * time.Second}})
		for _, release := range []bool{false, true} {
			got, _, err := run(t, sim, "exoscale", "key: key\nsecret: secret\nzone: "+region+"\ninstance-id: "+me+"\n",
				associate.Options{Release: release, Addresses: []netip.Addr{one}})
			if err != nil {
				t.Errorf("release %v: %v, %q", release, err, got)
			}
		}
		if got := sim.Holders(one); len(got) != 0 {
			t.Errorf("want no holder at the end, got %v", got)
		}
	})
}
