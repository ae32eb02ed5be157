package providers_test

import (
	"testing"

	"berth/providers"
)

func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.10/32", "2001:db8::/56", "192.0.2.1", "fe80::1%eth0", "::ffff:192.0.2.1/120", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := providers.ParseNetwork(text)
		if err != nil {
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "" {
			t.Errorf("%q: %v is no network", text, p)
		}
		if again, err := providers.ParseNetwork(p.String()); err != nil || again != p {
			t.Errorf("%q: reads back as %v, %v", text, again, err)
		}
	})
}
