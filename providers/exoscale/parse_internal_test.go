package exoscale

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzNetwork(f *testing.F) {
	f.Add("192.0.2.10", "192.0.2.10/32")
	f.Add("2001:db8::1", "2001:DB8::/96")
	f.Add("::ffff:192.0.2.10", "")
	f.Add("fe80::1%eth0", "fe80::/96")
	f.Fuzz(func(t *testing.T, ip, cidr string) {
		network, err := parseNetwork(ip, cidr)
		if err != nil {
			return
		}
		addr, err := netip.ParseAddr(ip)
		if err != nil || !network.Contains(addr.Unmap()) || network != network.Masked() {
			t.Errorf("%q, %q: got %s", ip, cidr, network)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add("instance-id", "11111111-1111-4111-8111-111111111111\n")
	f.Add("availability-zone", "ch-gva-2")
	f.Add("availability-zone", "evil.example/..")
	f.Fuzz(func(t *testing.T, what, text string) {
		got, err := parseMetadata(what, text)
		if err == nil && (what == "instance-id" || what == "availability-zone") && strings.ContainsAny(got, "/.:@?# \n\x00") {
			t.Errorf("%s: %q must not become part of a URL", what, got)
		}
	})
}

func TestObjectsSurviveTheCache(t *testing.T) {
	objects := map[netip.Prefix]elasticIP{
		netip.MustParsePrefix("192.0.2.10/32"):   {id: "11111111-1111-4111-8111-111111111111", ip: "192.0.2.10", managed: true},
		netip.MustParsePrefix("2001:db8:1::/96"): {id: "22222222-2222-4222-8222-222222222222", ip: "2001:DB8:1::7"},
	}
	got := parseObjects(formatObjects(objects))
	opt := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if d := cmp.Diff(objects, got, opt, cmp.AllowUnexported(elasticIP{})); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
	if parseObjects(nil) != nil {
		t.Error("nothing known: want nil, so that it is looked up")
	}
}
