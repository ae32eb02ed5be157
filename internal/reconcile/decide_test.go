package reconcile

import (
	"net/netip"
	"testing"

	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/vrrp"
)

func ip(text string) vrrp.FloatingIP { return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(text)} }

func TestExamine(t *testing.T) {
	on := func(dev string, f vrrp.FloatingIP) vrrp.FloatingIP { f.Device = dev; return f }
	bound := presence.Bound{
		netip.MustParseAddr("192.0.2.1"):   {"eth0"},
		netip.MustParseAddr("192.0.2.2"):   {"lo"},
		netip.MustParseAddr("192.0.2.3"):   {"eth1", "lo"},
		netip.MustParseAddr("192.0.2.4"):   {"vrrp.51"},
		netip.MustParseAddr("2001:db8::1"): {"eth0"},
	}
	agrees, denies := keepalived.Dump{"a": vrrp.Master}, keepalived.Dump{"a": vrrp.Backup}
	for _, row := range []struct {
		name string
		in   configured
		dump keepalived.Dump
		want evidence
	}{
		{"all there", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24"), ip("2001:db8::1/64")}}, nil, master},
		{"all there and keepalived agrees", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, agrees, master},
		{"all there and keepalived denies", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, denies, notMaster},
		{"all there and keepalived is only starting", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, keepalived.Dump{"a": vrrp.Unknown}, notMaster},
		{"all there under another name, as after a renaming", configured{"b", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, agrees, notMaster},
		{"a name that the dump cannot hold", configured{`a\b`, []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, agrees, master},
		{"one missing", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24"), ip("192.0.2.9/24")}}, agrees, notMaster},
		{"on loopback", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.2/32")}}, nil, notMaster},
		{"on loopback, as the file has it", configured{"a", []string{"lo"}, []vrrp.FloatingIP{ip("192.0.2.2/32")}}, nil, notMaster},
		{"on another interface", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.3/24")}}, nil, notMaster},
		{"on the address's own interface", configured{"a", []string{"eth0"}, []vrrp.FloatingIP{on("eth1", ip("192.0.2.3/24"))}}, nil, master},
		{"on the VMAC", configured{"a", []string{"eth0", "vrrp.51"}, []vrrp.FloatingIP{ip("192.0.2.4/24")}}, nil, master},
		{"interface not known", configured{"a", nil, []vrrp.FloatingIP{ip("192.0.2.1/24")}}, nil, notMaster},
		{"no addresses", configured{"a", []string{"eth0"}, nil}, agrees, nothing},
	} {
		got, reason := examine(row.in, bound, true, row.dump)
		if got != row.want || reason == "" {
			t.Errorf("%s: %v, %q; want %v and a reason", row.name, got, reason, row.want)
		}
	}
}

func TestMissingAddressProvesNothingInANetworkThatIsNotKnown(t *testing.T) {
	in := configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24")}}
	if got, reason := examine(in, presence.Bound{}, false, nil); got != nothing || reason == "" {
		t.Errorf("got %v, %q; want nothing and a reason", got, reason)
	}
	if got, reason := decide(in, presence.Bound{}, false, nil); got != vrrp.Unknown || reason == "" {
		t.Errorf("got %v, %q; want unknown and a reason", got, reason)
	}
}

func TestDecideWithoutEvents(t *testing.T) {
	here := netip.MustParseAddr("192.0.2.1")
	other := netip.MustParseAddr("2001:db8::1")
	both := configured{"a", []string{"eth0"}, []vrrp.FloatingIP{ip("192.0.2.1/24"), ip("2001:db8::1/64")}}
	all, part := presence.Bound{here: {"eth0"}, other: {"eth0"}}, presence.Bound{here: {"eth0"}}
	for _, row := range []struct {
		name  string
		in    configured
		bound presence.Bound
		dump  keepalived.Dump
		want  vrrp.State
	}{
		{"keepalived says MASTER, an address was taken off by hand", both, part, keepalived.Dump{"a": vrrp.Master}, vrrp.Master},
		{"keepalived says MASTER of an instance without addresses", configured{name: "a"}, nil, keepalived.Dump{"a": vrrp.Master}, vrrp.Master},
		{"keepalived says BACKUP, addresses still there", both, all, keepalived.Dump{"a": vrrp.Backup}, vrrp.Backup},
		{"keepalived is only starting", both, all, keepalived.Dump{"a": vrrp.Unknown}, vrrp.Unknown},
		{"keepalived does not have it", both, all, keepalived.Dump{}, vrrp.Deleted},
		{"no word, all there", both, all, nil, vrrp.Master},
		{"no word, a part there", both, part, nil, vrrp.Unknown},
		{"no word, none there", both, presence.Bound{}, nil, vrrp.Backup},
		{"no word, there on loopback", both, presence.Bound{here: {"lo"}, other: {"lo"}}, nil, vrrp.Backup},
		{"no word, no addresses", configured{name: "a"}, all, nil, vrrp.Unknown},
	} {
		if got, reason := decide(row.in, row.bound, true, row.dump); got != row.want || reason == "" {
			t.Errorf("%s: %v, %q; want %v and a reason", row.name, got, reason, row.want)
		}
	}
}
