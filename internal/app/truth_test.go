package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/reading"
	"berth/internal/status"
	"berth/internal/supervise"
	"berth/internal/truth"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
)

func TestFinder(t *testing.T) {
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
vrrp_instance managed {
 interface eth0
 virtual_router_id 3
}
`
	here := truth.Bound{netip.MustParseAddr("192.0.2.1"): {"eth0"}}
	none := errors.New("no JSON")
	lost := func(name string, state vrrp.State) vrrp.Event { return vrrp.Event{Instance: name, State: state} }
	for _, row := range []struct {
		name    string
		bound   truth.Bound
		later   truth.Bound // a second after, nil for the same
		dump    truth.Dump  // nil: cannot be had
		verdict supervise.Verdict
		// What is not known of keepalived: whether the process is it, and in which
		// network it is; somebody has the FIFO open to write.
		unproven, elsewhere, written bool
		known                        bool // keepalived has reported both
		masters                      []string
		lost                         []vrrp.Event
		want                         map[string]vrrp.State
		asked                        bool
	}{
		{name: "found bound, keepalived agrees", bound: here, dump: truth.Dump{"a": vrrp.Master, "b": vrrp.Backup}, verdict: supervise.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "found bound, keepalived denies", bound: here, dump: truth.Dump{"a": vrrp.Backup}, verdict: supervise.Alive, asked: true},
		{name: "found bound, keepalived cannot be asked", bound: here, verdict: supervise.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "found bound, only the name of the process is keepalived's", bound: here, verdict: supervise.Alive, unproven: true, asked: true},
		{name: "found bound, only the name of the process is keepalived's, and it has the FIFO open", bound: here, verdict: supervise.Alive, unproven: true, written: true,
			want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "lines lost, and the network of keepalived is not known", bound: truth.Bound{}, verdict: supervise.Alive, known: true, elsewhere: true,
			lost: []vrrp.Event{lost("a", vrrp.Master)}, want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "bound, but being cleared away", bound: here, later: truth.Bound{}, verdict: supervise.Alive, asked: true},
		{name: "bound only at the second look", bound: truth.Bound{netip.MustParseAddr("192.0.2.2"): {"eth0"}}, later: here, verdict: supervise.Alive, asked: true},
		{name: "left behind by a dead keepalived", bound: here, verdict: supervise.Dead},
		{name: "no keepalived found", bound: here, verdict: supervise.Unknown},
		{name: "nothing bound, keepalived is not bothered", bound: truth.Bound{}, verdict: supervise.Alive},
		{name: "keepalived has spoken", bound: here, verdict: supervise.Alive, known: true},
		{name: "lines lost, keepalived's word decides", bound: here, dump: truth.Dump{"a": vrrp.Master, "b": vrrp.Fault}, verdict: supervise.Alive, known: true,
			lost: []vrrp.Event{lost("a", vrrp.Backup), lost("b", vrrp.Master)},
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Fault}, asked: true},
		{name: "lines lost, addresses decide", bound: here, verdict: supervise.Alive, known: true,
			lost: []vrrp.Event{lost("a", vrrp.Backup), lost("b", vrrp.Master)},
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}, asked: true},
		{name: "lines lost, nothing decides but the last that was not", bound: here, verdict: supervise.Unknown, known: true,
			lost: []vrrp.Event{lost("managed", vrrp.Backup), lost("managed", vrrp.Master), lost("gone", vrrp.Fault)},
			want: map[string]vrrp.State{"managed": vrrp.Master, "gone": vrrp.Fault}},
		{name: "renamed, as keepalived confirms", bound: here, dump: truth.Dump{"a": vrrp.Master}, verdict: supervise.Alive, masters: []string{"former"},
			want: map[string]vrrp.State{"a": vrrp.Master, "former": vrrp.Deleted}, asked: true},
		{name: "renamed, keepalived cannot be asked", bound: here, verdict: supervise.Alive, masters: []string{"former"},
			want: map[string]vrrp.State{"a": vrrp.Master, "former": vrrp.Deleted}, asked: true},
		{name: "renamed in the file, keepalived not told yet", bound: here, dump: truth.Dump{"former": vrrp.Master}, verdict: supervise.Alive, masters: []string{"former"}, asked: true},
		{name: "lines lost and keepalived dead", bound: here, verdict: supervise.Dead, known: true,
			lost: []vrrp.Event{lost("a", vrrp.Master)},
			want: map[string]vrrp.State{"a": vrrp.Backup}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keepalived.conf")
			if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				got := map[string]vrrp.State{}
				asked := false
				count := &metrics.Registry{}
				f := &finder{
					corrections: newMeters(count).corrections,
					book:        &reading.Book{Path: path, Log: zap.NewNop()},
					status:      status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil)),
					log:         zap.NewNop(),
					wake:        make(chan struct{}, 1),
					suppose: func(ev vrrp.Event, since time.Time) bool {
						if ev.Reason == "" || since.IsZero() != (len(row.lost) == 0 && ev.State == vrrp.Master) {
							t.Errorf("supposed %+v since %v", ev, since)
						}
						got[ev.Instance] = ev.State
						return true
					},
					known:   func(string) bool { return row.known },
					masters: func() []string { return row.masters },
					flush:   func(context.Context) {},
					verdict: func() supervise.Verdict { return row.verdict },
					keepalived: func() (supervise.Keepalived, bool) {
						return supervise.Keepalived{Parent: os.Getpid(), VRRP: os.Getpid(), Proven: !row.unproven}, true
					},
					written: func() bool { return row.written },
					located: func() bool { return !row.elsewhere },
					addresses: func() (truth.Bound, error) {
						if row.later != nil && time.Since(begun) >= time.Second {
							return row.later, nil
						}
						return row.bound, nil
					},
					ask: func(context.Context, int, int) (truth.Dump, error) {
						asked = true
						if row.dump == nil {
							return nil, none
						}
						return row.dump, nil
					},
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- f.Run(ctx) }()
				if row.lost != nil {
					f.lines(row.lost)
				} else {
					f.look()
				}
				time.Sleep(time.Minute)
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("Run returned %v, want the cause", err)
				}
				if row.want == nil {
					row.want = map[string]vrrp.State{}
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("supposed states (-want +got):\n%s", diff)
				}
				var text strings.Builder
				if err := count.WriteText(&text); err != nil {
					t.Fatal(err)
				}
				for name := range row.want {
					if line := fmt.Sprintf("berth_corrections_total{instance=%q} 1\n", name); !strings.Contains(text.String(), line) {
						t.Errorf("want the metric %s, got:\n%s", line, &text)
					}
				}
				if asked != row.asked {
					t.Errorf("keepalived was asked: %v, want %v", asked, row.asked)
				}
			})
		})
	}
}
