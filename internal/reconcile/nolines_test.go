package reconcile

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/status"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

// While keepalived does not have the FIFO open the addresses decide, for MASTER and
// against it, for as long as keepalived is certain to live.
func TestReconcilerWhileNoLineCanArrive(t *testing.T) {
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
	here := presence.Bound{a: {"eth0"}}
	for _, row := range []struct {
		name     string
		masters  []string
		bound    presence.Bound
		later    presence.Bound  // half a second after, nil for the same
		dump     keepalived.Dump // nil: cannot be had
		verdict  keepalived.Verdict
		unproven bool
		unseen   bool // the addresses cannot be read
		want     map[string]vrrp.State
	}{
		{name: "takeover, by keepalived's word", dump: keepalived.Dump{"a": vrrp.Master, "b": vrrp.Backup}, verdict: keepalived.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}},
		{name: "takeover, by the addresses", bound: here, verdict: keepalived.Alive, want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}},
		{name: "demotion, by keepalived's word, addresses not read", masters: []string{"a"}, dump: keepalived.Dump{"a": vrrp.Fault}, unseen: true, verdict: keepalived.Alive,
			want: map[string]vrrp.State{"a": vrrp.Fault}},
		{name: "demotion, by the addresses", masters: []string{"b"}, bound: here, verdict: keepalived.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}},
		{name: "an address was taken off by hand, keepalived says MASTER", masters: []string{"a"}, bound: presence.Bound{}, dump: keepalived.Dump{"a": vrrp.Master, "b": vrrp.Backup}, verdict: keepalived.Alive,
			want: map[string]vrrp.State{"b": vrrp.Backup}},
		{name: "addresses come and go", masters: []string{"a"}, bound: here, later: presence.Bound{b: {"eth0"}}, verdict: keepalived.Alive, want: map[string]vrrp.State{}},
		{name: "addresses that a killed keepalived left", bound: here, verdict: keepalived.Dead, want: map[string]vrrp.State{}},
		{name: "addresses, and nothing known of keepalived", bound: here, verdict: keepalived.Unknown, want: map[string]vrrp.State{}},
		{name: "addresses, and only the name of the process is keepalived's", bound: here, unproven: true, verdict: keepalived.Alive,
			want: map[string]vrrp.State{"b": vrrp.Backup}},
		{name: "nothing can be seen", masters: []string{"a"}, unseen: true, verdict: keepalived.Alive, want: map[string]vrrp.State{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, run := filepath.Join(t.TempDir(), "keepalived.conf"), t.TempDir()
			if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				got := map[string]vrrp.State{}
				board := status.NewBoard(run, status.Instance{}, journal.New(nil))
				var why atomic.Value // of string
				why.Store("")
				r := New(Options{
					Table: &table{known: true, masters: row.masters, supposed: func(ev vrrp.Event, since time.Time) {
						if since.IsZero() {
							t.Errorf("supposed %+v against all lines that came before", ev)
						}
						got[ev.Instance] = ev.State
					}},
					Keepalived: &daemon{verdict: row.verdict, unproven: row.unproven, states: row.dump},
					Book:       &reading.Book{Path: path},
					Board:      board,
					Bound: func() (presence.Bound, bool, error) {
						switch {
						case row.unseen:
							return nil, true, presence.ErrNetwork
						case row.later != nil && time.Since(begun) >= 500*time.Millisecond:
							return row.later, true, nil
						}
						return row.bound, true, nil
					},
					Flush:   func(context.Context) {},
					Written: func() bool { return false },
					Deaf:    func() string { return why.Load().(string) },
					Journal: journal.New(nil),
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				why.Store("the reason; cure: the cure")
				r.DeafnessChanged()
				go func() { done <- r.Run(ctx) }()
				time.Sleep(1500 * time.Millisecond)
				synctest.Wait()
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("supposed states (-want +got):\n%s", diff)
				}
				deaf := func() (n int) {
					board.Flush()
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
				why.Store("")
				r.DeafnessChanged()
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
