package cloudscale

import (
	"testing"
)

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"uuid":"x","meta":{"cloudscale_uuid":"11111111-1111-4111-8111-111111111111"}}`))
	f.Add([]byte(`{"meta":null}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := parseMetadata(b); err == nil && !uuidForm.MatchString(id) {
			t.Errorf("%q is no UUID", id)
		}
	})
}

func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.10/32", "2001:db8::/56", "192.0.2.1", "fe80::1%eth0", "::ffff:192.0.2.1/120", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parseNetwork(text)
		if err != nil {
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Zone() != "" {
			t.Errorf("%q: %v is no network", text, p)
		}
		if again, err := parseNetwork(p.String()); err != nil || again != p {
			t.Errorf("%q: reads back as %v, %v", text, again, err)
		}
	})
}
