package overview_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/overview"
	"berth/keepalivedconf"
	"berth/providers"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

const conf = `vrrp_instance VI_1 {
 interface eth0
 virtual_router_id 1
 virtual_ipaddress {
  192.0.2.1/24
  192.0.2.2
 }
 virtual_ipaddress_excluded {
  fe80::9/64
 }
}
vrrp_instance VI_2 {
 interface eth1
 virtual_router_id 2
 virtual_ipaddress {
  fe80::8/64
 }
}
`

func read(t *testing.T, text string) *keepalivedconf.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := keepalivedconf.ParseFile(path, keepalivedconf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// account is a provider that knows who has what.
type account map[netip.Addr]providers.Holder

func (a account) Observe(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	if a == nil {
		return nil, errors.New("403")
	}
	found := map[netip.Addr]providers.Holder{}
	for _, addr := range addrs {
		found[addr] = a[addr]
	}
	return found, nil
}

func (account) Claim(context.Context, netip.Addr, func(context.Context) error) error {
	panic("an overview changes nothing")
}

func (account) Self(context.Context) (providers.Server, error) { return providers.Server{}, nil }

func table(t *testing.T, o *overview.Overview) []string {
	t.Helper()
	var out strings.Builder
	if err := o.Table(&out); err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(out.String()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	return rows
}

func TestTableOfKeepalivedsInstances(t *testing.T) {
	var o overview.Overview
	o.Keepalived(read(t, conf), nil, "")
	err := o.Ask(t.Context(), account{
		netip.MustParseAddr("192.0.2.1"): {Kind: providers.Mine, Object: "ip-7"},
		netip.MustParseAddr("192.0.2.2"): {Kind: providers.Other, Owner: "lb2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Instances[0].Member, o.Instances[0].Doubled = "h1", true
	want := []string{
		"INSTANCE INTERFACE ADDRESS FLOATING IP OWNER MEMBER",
		"VI_1 eth0 192.0.2.1/24 ip-7 this host h1 (two hosts have this name)",
		"VI_1 eth0 192.0.2.2/32 - lb2 h1 (two hosts have this name)",
		"VI_1 eth0 fe80::9/64 - never moved: it is link-local, and valid on its own network only h1 (two hosts have this name)",
		"VI_2 eth1 fe80::8/64 - never moved: it is link-local, and valid on its own network only -",
	}
	if d := cmp.Diff(want, table(t, &o)[:len(want)]); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestManagedAddressesStandInPlaceOfTheInstances(t *testing.T) {
	var o overview.Overview
	o.Keepalived(read(t, conf), []vrrp.FloatingIP{{Prefix: netip.MustParsePrefix("198.51.100.7/32")}}, "VI_2")
	if len(o.Instances) != 1 || o.Instances[0].Name != "VI_2" || !cmp.Equal(o.Instances[0].Managed, []string{"198.51.100.7/32"}) ||
		!cmp.Equal(o.Instances[0].Addresses, []string{"fe80::8/64"}) {
		t.Errorf("got %+v", o.Instances)
	}
}

func TestARefusedConfigurationIsSaidWithItsPlace(t *testing.T) {
	var o overview.Overview
	o.Keepalived(read(t, "vrrp_instance A {\n virtual_ipaddress {\n  192.0.2.1\n }\n}\n"), nil, "")
	rows := table(t, &o)
	if last := rows[len(rows)-1]; !o.Refused || !strings.HasPrefix(last, "refused: ") || !strings.Contains(last, "/k.conf:1: ") {
		t.Errorf("got %v, %q", o.Refused, rows)
	}
}

func TestAProviderThatRefusesIsAnErrorAndTheRestIsShown(t *testing.T) {
	var o overview.Overview
	o.Elected("api", "", []vrrp.FloatingIP{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}})
	o.Elected("empty", "eth0", nil)
	if err := o.Ask(t.Context(), account(nil)); err == nil {
		t.Error("want the provider's error")
	}
	want := []string{"INSTANCE INTERFACE ADDRESS FLOATING IP OWNER", "api - 192.0.2.1/32 - -", "empty eth0 none - -"}
	if d := cmp.Diff(want, table(t, &o)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestAnEmptyOverviewHasListsInJSON(t *testing.T) {
	var out strings.Builder
	if err := new(overview.Overview).JSON(&out); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out.String()), ""); got != `{"instances":[],"refused":false,"warnings":[]}` {
		t.Errorf("got %s", got)
	}
}

func TestHolders(t *testing.T) {
	for want, h := range map[string]providers.Holder{
		"this host":                     {Kind: providers.Mine},
		"no server":                     {Kind: providers.Nobody},
		"a server that is not known":    {Kind: providers.Nobody, Assumed: true}, // such as a webhook, which cannot be asked
		"no floating IP of the account": {Kind: providers.NotManaged},
		"load balancer X":               {Kind: providers.NotServer, Owner: "load balancer X"},
	} {
		if got := overview.Holder(h); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAddressesThatAProviderCanMoveAreGivenByInstance(t *testing.T) {
	ip := func(text string) vrrp.FloatingIP { return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(text)} }
	var o overview.Overview
	o.Watched([]vrrp.FloatingIP{ip("192.0.2.1/24"), ip("fe80::1/64")})
	o.Elected("api", "eth0", []vrrp.FloatingIP{ip("2001:db8::1/128"), ip("192.0.2.1/32")})
	one, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	if want := []netip.Addr{one, six, one}; !slices.Equal(o.Addresses(), want) {
		t.Errorf("want %v, got %v", want, o.Addresses())
	}
	got := o.ByInstance()
	if !slices.Equal(got["192.0.2.1"], []netip.Addr{one}) || len(got["fe80::1"]) != 0 || !slices.Equal(got["api"], []netip.Addr{six, one}) {
		t.Errorf("got %v", got)
	}
}
