package app

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/election"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/status"
	"berth/internal/testnet"
	"berth/netif"
	"berth/selftest"
)

// interfaceConfig has an instance on eth0 and one on lo, with a prefix that others share.
const interfaceConfig = `etcd: {endpoints: [http://127.0.0.1:1]}
run-directory: %s/run
election:
  interface: eth0
  instances:
    - {name: a, addresses: [192.0.2.1]}
    - {name: b, interface: lo, addresses: [192.0.2.254/24]}
`

func TestTheSelfTestRefusesTheInterfacesThatElectRefuses(t *testing.T) {
	testnet.Require(t, "ip")
	n, err := testnet.New("host", new(testnet.Bell))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	dir := t.TempDir()
	path := filepath.Join(dir, "berth.yml")
	if err := os.WriteFile(path, []byte(strings.Replace(interfaceConfig, "%s", dir, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &Options{Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer), Getenv: os.Getenv}
	cfg, err := o.load(path)
	if err != nil {
		t.Fatal(err)
	}
	checks, err := o.checks(path)
	if err != nil {
		t.Fatal(err)
	}
	board := status.NewBoard(dir, status.Instance{}, journal.New(nil))
	for _, tt := range []struct {
		name    string
		prepare func() error
		want    []string // in the refusal of both; none if both accept
	}{
		{"no such interface, and an address whose removal would remove others", func() error { return n.Sysctl("net/ipv4/conf/all/promote_secondaries", "0") },
			[]string{"open interface eth0: it does not exist", "bind 192.0.2.254/24 to lo: its removal would remove other addresses of its subnet"}},
		{"both mended", func() error {
			return errors.Join(n.Sysctl("net/ipv4/conf/lo/promote_secondaries", "1"), n.Bridge("eth0"))
		}, nil},
	} {
		if err := tt.prepare(); err != nil {
			t.Fatal(err)
		}
		var refusal error
		var report []string
		if err := n.Do(func() error {
			member := &election.Member{}
			h, err := openNetwork(cfg, member.End, func(string, netip.Prefix) bool { return false }, board, netif.NewMetrics(&metrics.Registry{}), journal.New(nil))
			if refusal = err; err == nil {
				return h.Close()
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := n.Do(func() error {
			for _, c := range checks {
				for _, f := range c.Run(t.Context()) {
					if c.Name == "interface" && f.Level == selftest.Fail {
						report = append(report, f.Seen)
					}
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if (refusal == nil) != (len(tt.want) == 0) {
			t.Errorf("%s: want elect to refuse %v, got %v", tt.name, len(tt.want) > 0, refusal)
		}
		for _, want := range tt.want {
			if !strings.Contains(refusal.Error(), want) || !strings.Contains(strings.Join(report, "\n"), want) {
				t.Errorf("%s: want %q, got from elect %v, from the self-test %q", tt.name, want, refusal, report)
			}
		}
	}
}

func TestAnAddressOnAWrongInterfaceIsInTheStatusUntilItIsGone(t *testing.T) {
	dir := t.TempDir()
	w := status.NewBoard(dir, status.Instance{PID: os.Getpid(), Mode: "elect"}, journal.New(nil))
	first, second := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.10/32")
	for _, tt := range []struct {
		p    netip.Prefix
		on   string
		want string
	}{
		{first, "eth1", "this host has addresses that another host owns: 192.0.2.1/32 on eth1"},
		{second, "eth2", "192.0.2.1/32 on eth1, 192.0.2.10/32 on eth2"},
		{first, "", "another host owns: 192.0.2.10/32 on eth2"},
		{second, "", ""},
	} {
		w.Astray("api", tt.p.String(), tt.on)
		w.Flush()
		var out bytes.Buffer
		if err := (&Options{Stdout: &out}).Status(dir, "", false); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); !strings.Contains(got, tt.want) || tt.want == "" && strings.Contains(got, "another host owns") {
			t.Errorf("%v on %q: want %q, got %s", tt.p, tt.on, tt.want, got)
		}
	}
}
