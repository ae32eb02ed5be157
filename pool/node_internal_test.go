package pool

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestTheValueOfAMemberComesBack(t *testing.T) {
	n := node{Member: "a", Weight: 3, Since: time.Unix(1, 0).UTC(), List: digest(nil), Refuses: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}
	if got, err := parseNode(n.encode()); err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("want %+v, got %+v, %v", n, got, err)
	}
}

// A person can put any value at the key of a member.
func FuzzParseNode(f *testing.F) {
	for _, text := range []string{"", "healthy", "{}", `{"weight":0}`, `{"weight":-1}`, `{"weight":1e9}`, `{"weight":1,"list":"x"}`, "null", "[]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		n, err := parseNode(value)
		if err == nil && (n.Weight < 1 || n.Weight > maxWeight) {
			t.Errorf("%q: got weight %d", value, n.Weight)
		}
	})
}
