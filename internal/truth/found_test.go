package truth

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

func ip(text string) vrrp.FloatingIP { return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(text)} }

func TestExamine(t *testing.T) {
	on := func(dev string, f vrrp.FloatingIP) vrrp.FloatingIP { f.Device = dev; return f }
	bound := Bound{
		netip.MustParseAddr("192.0.2.1"):   {"eth0"},
		netip.MustParseAddr("192.0.2.2"):   {"lo"},
		netip.MustParseAddr("192.0.2.3"):   {"eth1", "lo"},
		netip.MustParseAddr("192.0.2.4"):   {"vrrp.51"},
		netip.MustParseAddr("2001:db8::1"): {"eth0"},
	}
	master, backup := Dump{"a": vrrp.Master}, Dump{"a": vrrp.Backup}
	for _, row := range []struct {
		name string
		in   Instance
		dump Dump
		want Finding
	}{
		{"all there", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24"), ip("2001:db8::1/64")}}, nil, Master},
		{"all there and keepalived agrees", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, master, Master},
		{"all there and keepalived denies", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, backup, NotMaster},
		{"all there and keepalived is only starting", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, Dump{"a": vrrp.Unknown}, NotMaster},
		{"all there under another name, as after a renaming", Instance{"b", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, master, NotMaster},
		{"a name that the dump cannot hold", Instance{`a\b`, []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, master, Master},
		{"one missing", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24"), ip("192.0.2.9/24")}}, master, NotMaster},
		{"on loopback", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.2/32")}}, nil, NotMaster},
		{"on loopback, as the file has it", Instance{"a", []string{"lo"}, []vrrp.FloatingIP{ip("192.0.2.2/32")}}, nil, NotMaster},
		{"on another interface", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.3/24")}}, nil, NotMaster},
		{"on the address's own interface", Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{on("eth1", ip("192.0.2.3/24"))}}, nil, Master},
		{"on the VMAC", Instance{"a", []string{"eth0", "vrrp.51"}, []vrrp.FloatingIP{ip("192.0.2.4/24")}}, nil, Master},
		{"interface not known", Instance{"a", nil, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, nil, NotMaster},
		{"no addresses", Instance{"a", []string{"eth0"}, nil}, master, Nothing},
	} {
		got, reason := Examine(row.in, bound, true, row.dump)
		if got != row.want || reason == "" {
			t.Errorf("%s: %v, %q; want %v and a reason", row.name, got, reason, row.want)
		}
	}
}

func TestMissingAddressProvesNothingInANetworkThatIsNotKnown(t *testing.T) {
	in := Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}
	if got, reason := Examine(in, Bound{}, false, nil); got != Nothing || reason == "" {
		t.Errorf("got %v, %q; want nothing and a reason", got, reason)
	}
	if got, reason := Decide(in, Bound{}, false, nil); got != vrrp.Unknown || reason == "" {
		t.Errorf("got %v, %q; want unknown and a reason", got, reason)
	}
}

func TestDecideWithoutEvents(t *testing.T) {
	here := netip.MustParseAddr("192.0.2.1")
	other := netip.MustParseAddr("2001:db8::1")
	both := Instance{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24"), ip("2001:db8::1/64")}}
	all, part := Bound{here: {"eth0"}, other: {"eth0"}}, Bound{here: {"eth0"}}
	for _, row := range []struct {
		name  string
		in    Instance
		bound Bound
		dump  Dump
		want  vrrp.State
	}{
		{"keepalived says MASTER, an address was taken off by hand", both, part, Dump{"a": vrrp.Master}, vrrp.Master},
		{"keepalived says MASTER of an instance without addresses", Instance{Name: "a"}, nil, Dump{"a": vrrp.Master}, vrrp.Master},
		{"keepalived says BACKUP, addresses still there", both, all, Dump{"a": vrrp.Backup}, vrrp.Backup},
		{"keepalived is only starting", both, all, Dump{"a": vrrp.Unknown}, vrrp.Unknown},
		{"keepalived does not have it", both, all, Dump{}, vrrp.Deleted},
		{"no word, all there", both, all, nil, vrrp.Master},
		{"no word, a part there", both, part, nil, vrrp.Unknown},
		{"no word, none there", both, Bound{}, nil, vrrp.Backup},
		{"no word, there on loopback", both, Bound{here: {"lo"}, other: {"lo"}}, nil, vrrp.Backup},
		{"no word, no addresses", Instance{Name: "a"}, all, nil, vrrp.Unknown},
	} {
		if got, reason := Decide(row.in, row.bound, true, row.dump); got != row.want || reason == "" {
			t.Errorf("%s: %v, %q; want %v and a reason", row.name, got, reason, row.want)
		}
	}
}

func TestParseDump(t *testing.T) {
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
		got, err := ParseDump([]byte(row.text))
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
	got, err := ParseAddresses([]byte(text))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want what 2.2.7 wrote: %v", got, err, want)
	}
	for _, bad := range []string{"", `[{"data":{"iname":"a","state":2,"vips":["x"]}}]`, `[{"data":{"iname":"a","state":2,"vips":[""]}}]`, `[{"data":{"iname":"a","state":2,"vips":[{}]}}]`} {
		if got, err := ParseAddresses([]byte(bad)); err == nil {
			t.Errorf("got %v from %s, want an error", got, bad)
		}
	}
}

func FuzzParseDump(f *testing.F) {
	f.Add([]byte(`[{"data":{"iname":"a","state":2}}]`))
	f.Add([]byte(`{"vrrp":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := ParseDump(text); (d == nil) != (err != nil) {
			t.Errorf("got %v and %v", d, err)
		}
	})
}

func TestSight(t *testing.T) {
	start := time.Unix(0, 0)
	type step struct {
		after   time.Duration
		present bool
		want    change
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"never seen is never suspended", []step{{0, false, none}, {time.Hour, false, none}, {2 * time.Hour, false, none}}},
		{"seen and gone for a second", []step{{0, true, none}, {time.Second, false, none}, {2 * time.Second, false, suspend}, {time.Hour, false, none}}},
		{"back within the second", []step{{0, true, none}, {time.Second, false, none}, {1900 * time.Millisecond, true, none}, {time.Hour, false, none}, {time.Hour + 999*time.Millisecond, false, none}}},
		{"back after it", []step{{0, true, none}, {1, false, none}, {time.Second + 1, false, suspend}, {time.Hour, true, resume}, {time.Hour + 1, true, none}}},
		{"gone twice", []step{{0, true, none}, {1, false, none}, {time.Second + 1, false, suspend}, {time.Hour, true, resume}, {time.Hour + 1, false, none}, {time.Hour + time.Second + 1, false, suspend}}},
	} {
		var s sight
		for i, st := range row.steps {
			var got change
			if s, got = s.look(st.present, start.Add(st.after)); got != st.want {
				t.Errorf("%s, step %d: %v, want %v", row.name, i, got, st.want)
			}
		}
	}
}
