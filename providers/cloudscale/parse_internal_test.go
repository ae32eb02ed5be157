package cloudscale

import (
	"testing"

	"berth/providers"
)

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"uuid":"x","meta":{"cloudscale_uuid":"11111111-1111-4111-8111-111111111111"}}`))
	f.Add([]byte(`{"meta":null}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := parseMetadata(b); err == nil && !providers.IsUUID(id) {
			t.Errorf("%q is no UUID", id)
		}
	})
}
