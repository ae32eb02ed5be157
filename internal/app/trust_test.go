package app

import (
	"context"
	"testing"

	"berth/providers"
	"berth/providers/catalog"

	"gopkg.in/yaml.v3"
)

// trusting notes that it was told to make ready for a handshake.
type trusting struct {
	providers.Provider
	told int
}

func (t *trusting) Trust() { t.told++ }

func TestServiceMakesReadyForTheHandshakeBeforeTheFirstClaim(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &trusting{}
	_ = (&cloud{provider: p}).prepare(ctx)
	if p.told != 1 {
		t.Errorf("told %d times, want once", p.told)
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
