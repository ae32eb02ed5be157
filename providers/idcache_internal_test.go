package providers

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzParseIDs(f *testing.F) {
	key := IDKey{Provider: "p", BootID: "b"}
	good, err := json.Marshal(idFile{Key: key, IDs: IDs{Server: "s", Objects: map[netip.Prefix]string{netip.MustParsePrefix("192.0.2.1/32"): "x"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"key":{"provider":"p","boot_id":"b"},"ids":{"objects":{"":"x"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ids, err := parseIDs(b, key)
		if err != nil {
			return
		}
		for network := range ids.Objects {
			if !network.IsValid() {
				t.Errorf("%q: not a network", b)
			}
		}
		again, err := json.Marshal(idFile{Key: key, IDs: ids})
		if err != nil {
			t.Fatal(err)
		}
		same, err := parseIDs(again, key)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ids, same, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" && len(ids.Objects)+len(same.Objects) > 0 {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}
