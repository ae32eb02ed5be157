package probe_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/fifo"
	"berth/internal/probe"
	"berth/internal/reading"
	"berth/keepalivedconf"
	"berth/providers"
	"berth/selftest"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// book returns the book of a keepalived.conf with this text.
func book(t *testing.T, text string) *reading.Book {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &reading.Book{Path: path}
}

// present has the interface eth0 alone.
func present(*keepalivedconf.Config) func(string) (int, bool) {
	return func(name string) (int, bool) { return 1500, name == "eth0" }
}

func instance(name, iface, addresses string) string {
	return fmt.Sprintf("vrrp_instance %s {\n interface %s\n virtual_router_id 1\n virtual_ipaddress {\n %s\n }\n}\n", name, iface, addresses)
}

func TestKeepalivedsInstancesAreListed(t *testing.T) {
	b := book(t, instance("VI_1", "eth0", "192.0.2.1\n 192.0.2.2"))
	got, err := probe.Keepalived(b, present)
	want := selftest.Keepalived{Path: b.Path, Instances: []string{"VI_1 on eth0: 192.0.2.1/32 192.0.2.2/32"}}
	got.Warnings = nil
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, d)
	}
}

// keepalived may run in another network namespace, so that an interface that is missing
// here refuses nothing.
func TestAnInterfaceThatIsMissingIsAWarning(t *testing.T) {
	got, err := probe.Keepalived(book(t, instance("VI_1", "eth7", "192.0.2.1")), present)
	if err != nil || got.Refused != "" || !strings.Contains(strings.Join(got.Warnings, "\n"), "eth7") {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestARefusedFileIsSaidOnceWithItsLine(t *testing.T) {
	b := book(t, "vrrp_instance A {\n interface eth0\n virtual_ipaddress {\n  192.0.2.1\n }\n}\n")
	got, err := probe.Keepalived(b, present)
	if err != nil || !strings.HasPrefix(got.Refused, b.Path+":1: ") || got.Unloaded != "" || strings.Contains(strings.Join(got.Warnings, "\n"), got.Refused) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWithoutAFileThereIsAnError(t *testing.T) {
	if got, err := probe.Keepalived(&reading.Book{Path: filepath.Join(t.TempDir(), "none")}, present); err == nil {
		t.Errorf("got %+v", got)
	}
}

func TestEachMovableAddressIsAskedForOnce(t *testing.T) {
	b := book(t, instance("VI_1", "eth0", "192.0.2.1/24\n fe80::1/64")+instance("VI_2", "eth0", "192.0.2.1/32\n 192.0.2.2"))
	addrs := func(ips []vrrp.FloatingIP) (all []string) {
		for _, ip := range ips {
			all = append(all, ip.String())
		}
		return all
	}
	if got, want := addrs(probe.Movable(b, nil)), []string{"192.0.2.1/24", "192.0.2.2/32"}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	managed := []vrrp.FloatingIP{{Prefix: netip.MustParsePrefix("198.51.100.7/32")}}
	if got, want := addrs(probe.Movable(b, managed)), []string{"198.51.100.7/32"}; !cmp.Equal(got, want) {
		t.Errorf("with managed addresses: got %v, want %v", got, want)
	}
}

// account counts how often it is asked.
type account struct{ asked int }

func (a *account) Observe(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	a.asked++
	found := map[netip.Addr]providers.Holder{}
	for _, addr := range addrs {
		found[addr] = providers.Holder{Kind: providers.Mine}
	}
	return found, nil
}

func (*account) Claim(context.Context, netip.Addr, func(context.Context) error) error {
	panic("a probe changes nothing")
}

func (*account) Self(context.Context) (providers.Server, error) { return providers.Server{}, nil }

func TestTheProviderIsAskedAlsoWithoutAddresses(t *testing.T) {
	a := &account{}
	if got, err := probe.FloatingIPs(t.Context(), a, nil); err != nil || len(got) != 0 || a.asked != 1 {
		t.Errorf("got %v, %v after %d calls", got, err, a.asked)
	}
	got, err := probe.FloatingIPs(t.Context(), a, []vrrp.FloatingIP{{Prefix: netip.MustParsePrefix("192.0.2.1/24")}})
	want := []selftest.FloatingIP{{Address: "192.0.2.1/24", Managed: true, Owner: "this host"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, d)
	}
}

func TestOfEachFIFOItIsToldWhetherItIsThereAndWhoReadsIt(t *testing.T) {
	dir := t.TempDir()
	missing, there := filepath.Join(dir, "missing"), filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(there, 0o600); err != nil {
		t.Fatal(err)
	}
	unlock, err := fifo.Lock(t.Context(), there)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unlock() }()
	conf := &keepalivedconf.Config{FIFOs: []string{missing, there}}
	got := probe.FIFOs("keepalived.conf", filepath.Join(dir, "pid"), conf)
	want := []selftest.FIFO{{Path: missing, Missing: true}, {Path: there, Reader: os.Getpid()}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got := probe.FIFOs("keepalived.conf", filepath.Join(dir, "pid"), nil); got != nil {
		t.Errorf("without a configuration: got %v", got)
	}
}
