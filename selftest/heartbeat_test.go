package selftest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"berth/selftest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestChecksOfHeartbeats(t *testing.T) {
	failed, used := errors.New("no answer"), fmt.Errorf("listen udp :1: bind: %w", unix.EADDRINUSE)
	bind := func(err error) func() error { return func() error { return err } }
	runs := func(pid int) func() int { return func() int { return pid } }
	peers := func(err error, all ...selftest.Peer) func(context.Context) ([]selftest.Peer, error) {
		return func(context.Context) ([]selftest.Peer, error) { return all, err }
	}
	for _, row := range []struct {
		name  string
		check selftest.Check
		want  []string
	}{
		{"a port that is free", selftest.Socket(":1", bind(nil), runs(0)), []string{"ok heartbeats: UDP port is free: :1 -> "}},
		{"a running berth", selftest.Socket(":1", bind(used), runs(7)), []string{"ok heartbeats: berth runs with pid 7 and receives at :1 -> "}},
		{"another program", selftest.Socket(":1", bind(used), runs(0)),
			[]string{"FAIL heartbeats: listen udp :1: bind: address already in use -> find the program: ss -lunp; stop it, or write another heartbeat.listen on all hosts"}},
		{"an address of another host", selftest.Socket("192.0.2.1:1", bind(unix.EADDRNOTAVAIL), runs(7)),
			[]string{"FAIL heartbeats: cannot assign requested address -> write :12345 as heartbeat.listen, or an address that this host has"}},
		{"peers", selftest.Peers(peers(nil, selftest.Peer{Name: "192.0.2.2", Addresses: []string{"192.0.2.2"}}, selftest.Peer{Name: "lb2", Addresses: []string{"192.0.2.3", "192.0.2.4"}}, selftest.Peer{Name: "lb3", Err: failed})),
			[]string{"ok peers: 192.0.2.2 -> ", "ok peers: lb2: 192.0.2.3, 192.0.2.4 -> ", "FAIL peers: lb3: no answer -> write its address in heartbeat.peers, or mend the name: getent ahosts lb3"}},
		{"an empty group", selftest.Peers(peers(nil)), []string{"warn peers: there is no other host, so that none takes over -> add a host to the security group"}},
		{"a group that cannot be read", selftest.Peers(peers(failed)), []string{"FAIL peers: no answer -> correct heartbeat.security-group, or what the error names"}},
		{"a witness", selftest.Witness("gw:443", func(context.Context) error { return nil }), []string{"ok witness: gw:443 accepts connections -> "}},
		{"no witness", selftest.Witness("gw:443", func(context.Context) error { return failed }),
			[]string{"FAIL witness: gw:443: no answer -> choose a witness that accepts TCP connections from all hosts; without it no host owns an address"}},
	} {
		if d := cmp.Diff(row.want, run(t, row.check)); d != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, d)
		}
	}
}
