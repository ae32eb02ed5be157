package netif

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/testnet"
)

func TestHostSweepsAllItsInterfaces(t *testing.T) {
	testnet.Require(t, "ip")
	n := newNode(t, "host", new(testnet.Bell))
	managed := map[string][]netip.Prefix{"lo": {v4}, "eth0": {v6}}
	must(t, n.Do(func() error {
		shell(t, "ip link set lo up; ip link add eth0 type veth peer name peer0; ip link set peer0 up; ip link set eth0 up")
		shell(t, "ip address add 192.0.2.254/32 dev lo; ip address add 2001:db8::254/128 dev eth0 nodad")
		h, err := OpenHost(options(t), managed)
		if err != nil {
			return err
		}
		err = h.Serve(t.Context(), func(context.Context) error {
			h.Renewed()
			h.Moved()
			return h.Sweep(func(netip.Prefix) bool { return false })
		})
		shell(t, `test -z "$(ip -o address show scope global)"`)
		if h.Interface("eth0") == nil || h.Interface("eth1") != nil {
			t.Error("want the interfaces by their names")
		}
		return errors.Join(err, h.Close())
	}))
}

// The list of a pool may be read after the leftovers are removed.
func TestHostAsksForRecordedAddressesOfEachInterface(t *testing.T) {
	testnet.Require(t, "ip")
	n := newNode(t, "host", new(testnet.Bell))
	must(t, n.Do(func() error {
		shell(t, "ip link set lo up; ip link add eth0 type veth peer name peer0; ip link set peer0 up; ip link set eth0 up")
		for _, on := range []string{"lo dev 192.0.2.254/32", "eth0 dev 192.0.2.253/32", "peer0 dev 192.0.2.252/32"} {
			link, address, _ := strings.Cut(on, " dev ")
			shell(t, "ip address add "+address+" dev "+link+" valid_lft 600 preferred_lft 600")
		}
		o := options(t)
		o.Record = filepath.Join(t.TempDir(), "bound")
		openRecord(o.Record, o.Journal).add([]netip.Prefix{v4, w4, netip.MustParsePrefix("192.0.2.252/32")})
		h, err := OpenHost(o, map[string][]netip.Prefix{"lo": nil, "eth0": nil})
		if err != nil {
			return err
		}
		must(t, h.Sweep(func(netip.Prefix) bool { return true }))
		shell(t, `test "$(ip -o -4 address show scope global | awk '{print $4}' | sort | xargs)" = "192.0.2.253/32 192.0.2.254/32"`)
		must(t, h.Sweep(func(netip.Prefix) bool { return false }))
		shell(t, `test -z "$(ip -o -4 address show scope global)"`)
		return h.Close()
	}))
}

// shell runs a command in the namespace of this thread.
func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("/bin/sh", "-c", command).CombinedOutput(); err != nil {
		t.Errorf("%s: %v, %s", command, err, out)
	}
}

func TestChecksNameWhatOpenWouldRefuseAndWhatCannotBeUsed(t *testing.T) {
	testnet.Require(t, "ip")
	n := newNode(t, "host", new(testnet.Bell))
	must(t, n.Do(func() error {
		if err := CheckHost(map[string][]netip.Prefix{"lo": {v4}}); err != nil {
			t.Errorf("want lo accepted, got %v", err)
		}
		missing := map[string][]netip.Prefix{"lo": {v4}, "eth7": nil, "eth8": {v6}}
		if err := errorText(CheckHost(missing)); !strings.Contains(err, "open interface eth7") || !strings.Contains(err, "open interface eth8") {
			t.Errorf("want both missing interfaces named, got %q", err)
		}
		shell(t, "ip link add eth0 type veth peer name peer0")
		if unready, err := Check("eth0", []netip.Prefix{v4}); unready != "interface eth0 is down" || err != nil {
			t.Errorf("want that it is down, got %q, %v", unready, err)
		}
		if unready, err := Check("eth7", nil); unready != "" || err == nil {
			t.Errorf("want an error, got %q, %v", unready, err)
		}
		return nil
	}))
}
