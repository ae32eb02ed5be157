package pointing_test

import (
	"context"
	"errors"
	"testing"

	"berth/internal/journal"
	"berth/internal/pointing"
	"berth/providers"
	"berth/providers/catalog"
	"berth/refresher"
	"berth/vrrp"

	"gopkg.in/yaml.v3"
)

// trusting notes that it was told to make ready for a handshake.
type trusting struct {
	providers.Provider
	told int
}

func (t *trusting) Trust() { t.told++ }

func TestServiceMakesReadyForTheHandshakeBeforeTheFirstClaim(t *testing.T) {
	over := errors.New("test is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(over)
	for name, f := range map[string]func(*pointing.Cloud, context.Context) error{"service": (*pointing.Cloud).Prepare, "notify script": (*pointing.Cloud).Trust} {
		p := &trusting{}
		if err := f(pointing.New(pointing.Options{Name: "fake", Provider: p, Journal: journal.New(nil)}), ctx); err != over {
			t.Errorf("%s: got %v, want the cause of the end", name, err)
		}
		if p.told != 1 {
			t.Errorf("%s: told %d times, want once", name, p.told)
		}
	}
}

// target is a target that is not a provider's.
type target struct{ refresher.Target }

func TestWithoutAProviderNothingIsProved(t *testing.T) {
	c := pointing.New(pointing.Options{Journal: journal.New(nil),
		Target: func(vrrp.FloatingIP, func(context.Context) error) refresher.Target { return target{} }})
	if l := c.Loop("VI_1", vrrp.FloatingIP{}, nil, journal.New(nil)); !l.Unproven || l.Target != (target{}) {
		t.Errorf("got a loop with the target %v, unproven %v", l.Target, l.Unproven)
	}
	with := pointing.New(pointing.Options{Name: "cloudscale", Provider: &trusting{}, Journal: journal.New(nil)})
	one, other := with.Loop("VI_1", vrrp.FloatingIP{}, nil, journal.New(nil)), with.Loop("VI_2", vrrp.FloatingIP{}, nil, journal.New(nil))
	if one.Unproven || one.Pace != other.Pace || one.Gate != other.Gate {
		t.Error("want loops of an account that share its rhythm and its gate")
	}
}

func TestProvidersWithAnAPIMakeReadyForTheHandshake(t *testing.T) {
	for name, section := range map[string]string{
		"cloudscale": "{token: t}", "exoscale": "{key: k, secret: s}", "hetzner": "{token: t}", "webhook": "{url: 'https://example.com/', secret: s}",
	} {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(section), &node); err != nil {
			t.Fatal(err)
		}
		p, err := catalog.Providers[name].New(providers.Deps{
			Env: func(string) string { return "" }, Hostname: func() (string, error) { return "h", nil },
			Secret: func(_, inline, _, _ string) (string, error) { return inline, nil },
		}, &node)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, ok := p.(providers.Truster); !ok {
			t.Errorf("%s does not", name)
		}
	}
}
