package app

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/config"
	"berth/fifo"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/reading"
	"berth/internal/status"
	"berth/internal/supervise"
	"berth/internal/truth"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// While keepalived does not have the FIFO open the machine decides, for MASTER and
// against it, for as long as keepalived is certain to live.
func TestFinderWhileNoLineCanArrive(t *testing.T) {
	const conf = `
vrrp_instance a {
 interface eth0
 virtual_router_id 1
 virtual_ipaddress { 192.0.2.1/24 }
}
vrrp_instance b {
 interface eth0
 virtual_router_id 2
 virtual_ipaddress { 192.0.2.2/24 }
}
`
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	here := truth.Bound{a: {"eth0"}}
	for _, row := range []struct {
		name     string
		masters  []string
		bound    truth.Bound
		later    truth.Bound // half a second after, nil for the same
		dump     truth.Dump  // nil: cannot be had
		verdict  supervise.Verdict
		unproven bool
		unseen   bool // the addresses cannot be looked at
		want     map[string]vrrp.State
	}{
		{name: "takeover, by keepalived's word", dump: truth.Dump{"a": vrrp.Master, "b": vrrp.Backup}, verdict: supervise.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}},
		{name: "takeover, by the addresses", bound: here, verdict: supervise.Alive, want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}},
		{name: "demotion, by keepalived's word, addresses not seen", masters: []string{"a"}, dump: truth.Dump{"a": vrrp.Fault}, unseen: true, verdict: supervise.Alive,
			want: map[string]vrrp.State{"a": vrrp.Fault}},
		{name: "demotion, by the addresses", masters: []string{"b"}, bound: here, verdict: supervise.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}},
		{name: "an address was taken off by hand, keepalived says MASTER", masters: []string{"a"}, bound: truth.Bound{}, dump: truth.Dump{"a": vrrp.Master, "b": vrrp.Backup}, verdict: supervise.Alive,
			want: map[string]vrrp.State{"b": vrrp.Backup}},
		{name: "addresses come and go", masters: []string{"a"}, bound: here, later: truth.Bound{b: {"eth0"}}, verdict: supervise.Alive, want: map[string]vrrp.State{}},
		{name: "addresses that a killed keepalived left", bound: here, verdict: supervise.Dead, want: map[string]vrrp.State{}},
		{name: "addresses, and nothing known of keepalived", bound: here, verdict: supervise.Unknown, want: map[string]vrrp.State{}},
		{name: "addresses, and only the name of the process is keepalived's", bound: here, unproven: true, verdict: supervise.Alive,
			want: map[string]vrrp.State{"b": vrrp.Backup}},
		{name: "nothing can be seen", masters: []string{"a"}, unseen: true, verdict: supervise.Alive, want: map[string]vrrp.State{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, run := filepath.Join(t.TempDir(), "keepalived.conf"), t.TempDir()
			if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				got := map[string]vrrp.State{}
				f := &finder{
					book: &reading.Book{Path: path, Log: zap.NewNop()}, status: status.NewBoard(run, status.Instance{}, journal.New(nil)),
					corrections: newMeters(&metrics.Registry{}).corrections, log: zap.NewNop(), wake: make(chan struct{}, 1),
					suppose: func(ev vrrp.Event, since time.Time) bool {
						if since.IsZero() {
							t.Errorf("supposed %+v against all lines that came before", ev)
						}
						got[ev.Instance] = ev.State
						return true
					},
					known:   func(string) bool { return true },
					masters: func() []string { return row.masters },
					flush:   func(context.Context) {},
					verdict: func() supervise.Verdict { return row.verdict },
					keepalived: func() (supervise.Keepalived, bool) {
						return supervise.Keepalived{Parent: 1, VRRP: 2, Proven: !row.unproven}, true
					},
					written: func() bool { return false },
					addresses: func() (truth.Bound, error) {
						switch {
						case row.unseen:
							return nil, truth.ErrNetwork
						case row.later != nil && time.Since(begun) >= 500*time.Millisecond:
							return row.later, nil
						}
						return row.bound, nil
					},
					located: func() bool { return true },
					ask: func(context.Context, int, int) (truth.Dump, error) {
						if row.dump == nil {
							return nil, errors.New("no JSON")
						}
						return row.dump, nil
					},
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				f.setDeaf("the reason; cure: the cure")
				go func() { done <- f.Run(ctx) }()
				time.Sleep(1500 * time.Millisecond)
				synctest.Wait()
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("supposed states (-want +got):\n%s", diff)
				}
				deaf := func() (n int) {
					f.status.Flush()
					all, err := status.Read(run)
					if err != nil {
						t.Fatal(err)
					}
					for _, in := range all {
						if strings.Contains(in.Deaf, "cure: the cure") {
							n++
						}
					}
					return n
				}
				if n := deaf(); n != 2 {
					t.Errorf("%d instances say in their status that no line can arrive, want 2", n)
				}
				f.setDeaf("")
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if n := deaf(); n != 0 {
					t.Errorf("%d instances say still that no line can arrive", n)
				}
				cancel()
				<-done
			})
		})
	}
}

// The service tells of a FIFO that is not open, with its cure, and of the end of that.
func TestDeafnessIsToldWithItsCureAndItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte("global_defs {\n script_user root\n vrrp_notify_fifo /run/f\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, fifo, cure string }{
		{"a FIFO that keepalived.conf names", "/run/f", "keepalived -t -f " + path + " && kill -HUP 7"},
		{"one that it does not name", "/run/g", "add vrrp_notify_fifo /run/g to global_defs in " + path + ", and then keepalived -t -f " + path + " && kill -HUP 7"},
	} {
		t.Run(row.name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			count := &metrics.Registry{}
			s := &service{log: zap.New(core), meters: newMeters(count), reader: fifo.NewReader(row.fifo, nil, nil)}
			gen := &generation{graph: &graph{cfg: &config.Config{KeepalivedConfig: path}, book: &reading.Book{Path: path, Log: zap.NewNop()}},
				finder: &finder{wake: make(chan struct{}, 1)}}
			s.current.Store(gen)
			k := supervise.Keepalived{Parent: 7, VRRP: 8}
			gauge := func(want string) {
				t.Helper()
				var text strings.Builder
				if err := count.WriteText(&text); err != nil {
					t.Fatal(err)
				}
				got := ""
				for line := range strings.Lines(text.String()) {
					if value, ok := strings.CutPrefix(line, "berth_fifo_deaf "); ok {
						got = strings.TrimSpace(value)
					}
				}
				if got != want {
					t.Errorf("berth_fifo_deaf is %q, want %q", got, want)
				}
			}
			last := func(level zapcore.Level, cure string) {
				t.Helper()
				all := logs.TakeAll()
				if len(all) != 1 || all[0].Level != level {
					t.Fatalf("logged %+v, want one line of level %v", all, level)
				}
				if got, _ := all[0].ContextMap()["cure"].(string); got != cure {
					t.Errorf("the cure is %q, want %q", got, cure)
				}
			}
			s.heard(supervise.Unsure, supervise.Keepalived{}, nil) // none runs yet
			if n := logs.Len(); n != 0 {
				t.Errorf("%d lines about a keepalived that does not run yet", n)
			}
			gauge("")
			s.heard(supervise.Deaf, k, nil)
			gauge("1")
			if !strings.Contains(gen.finder.deaf, row.cure) {
				t.Errorf("the status is to say %q, want the cure %q", gen.finder.deaf, row.cure)
			}
			all := logs.FilterLevelExact(zap.ErrorLevel).TakeAll()
			if len(all) != 1 || all[0].ContextMap()["cure"] != row.cure {
				t.Errorf("logged %+v, want one error with the cure %q", all, row.cure)
			}
			logs.TakeAll()
			s.heard(supervise.Hears, k, nil)
			last(zap.InfoLevel, "")
			gauge("0")
			if gen.finder.deaf != "" || !gen.finder.closed {
				t.Error("want one more look, and then events alone")
			}
			s.heard(supervise.Unsure, k, os.ErrPermission)
			last(zap.WarnLevel, "")
			gauge("")
		})
	}
}
