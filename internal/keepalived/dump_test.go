package keepalived

import (
	"net/netip"
	"reflect"
	"testing"

	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

func TestParseStates(t *testing.T) {
	const two = `[{"data":{"iname":"a","state":2,"vips":["x"]},"stats":{}},{"data":{"iname":"b c","state":1}},{"data":{"iname":"c","state":3}},{"data":{"iname":"d","state":0}}]`
	want := Dump{"a": vrrp.Master, "b c": vrrp.Backup, "c": vrrp.Fault, "d": vrrp.Unknown}
	for _, row := range []struct {
		name, text string
		want       Dump
		bad        bool
	}{
		{"as 2.2.7 writes it", two, want, false},
		{"with json_version 2", `{"vrrp":` + two + `,"bfd":[]}`, want, false},
		{"no instances", "[]", Dump{}, false},
		{"half written", two[:60], nil, true},
		{"empty", "", nil, true},
		{"an instance without a name", `[{"data":{"state":2}}]`, nil, true},
		{"an instance without a state", `[{"data":{"iname":"a"}}]`, nil, true},
	} {
		got, err := parseStates([]byte(row.text))
		if diff := cmp.Diff(row.want, got); diff != "" || (err != nil) != row.bad {
			t.Errorf("%s: %v (-want +got):\n%s", row.name, err, diff)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	const text = `[{"data":{"iname":"a","state":2,"vipset":true,
 "vips":["192.0.2.10/24 dev eth0 scope global set","192.0.2.12 dev eth1 scope global"],
 "evips":["2001:db8::5/64 dev eth0 scope global preferred_lft forever set","192.0.2.13 dev eth0 scope global peer 192.0.2.99/32 set"]}},
 {"data":{"iname":"none","state":1}}]`
	want := map[string][]vrrp.FloatingIP{"none": nil, "a": {
		{Prefix: netip.MustParsePrefix("192.0.2.10/24"), Device: "eth0"},
		{Prefix: netip.MustParsePrefix("192.0.2.12/32"), Device: "eth1"},
		{Prefix: netip.MustParsePrefix("2001:db8::5/64"), Device: "eth0"},
		{Prefix: netip.MustParsePrefix("192.0.2.13/32"), Device: "eth0"},
	}}
	got, err := parseAddresses([]byte(text))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want what 2.2.7 wrote: %v", got, err, want)
	}
	for _, bad := range []string{"", `[{"data":{"iname":"a","state":2,"vips":["x"]}}]`, `[{"data":{"iname":"a","state":2,"vips":[""]}}]`, `[{"data":{"iname":"a","state":2,"vips":[{}]}}]`} {
		if got, err := parseAddresses([]byte(bad)); err == nil {
			t.Errorf("got %v from %s, want an error", got, bad)
		}
	}
}

func FuzzParseStates(f *testing.F) {
	f.Add([]byte(`[{"data":{"iname":"a","state":2}}]`))
	f.Add([]byte(`{"vrrp":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := parseStates(text); (d == nil) != (err != nil) {
			t.Errorf("got %v and %v", d, err)
		}
	})
}

func TestADumpTellsOnlyOfNamesThatItCanHold(t *testing.T) {
	for _, row := range []struct {
		name           string
		dump           Dump
		instance       string
		tells, denying bool
	}{
		{"no dump", nil, "a", false, false},
		{"an instance that it has", Dump{"a": vrrp.Backup}, "a", true, false},
		{"an instance that it lacks", Dump{"a": vrrp.Backup}, "b", true, true},
		{"a name with a backslash", Dump{}, `a\b`, false, false},
		{"a name with a control character", Dump{}, "a\tb", false, false},
		{"a name that is not text", Dump{}, "a\xff", false, false},
	} {
		if tells, denies := row.dump.Tells(row.instance), row.dump.Denies(row.instance); tells != row.tells || denies != row.denying {
			t.Errorf("%s: tells %v, denies %v; want %v, %v", row.name, tells, denies, row.tells, row.denying)
		}
	}
}
