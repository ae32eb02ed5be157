package reconcile

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
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

// table is a Table that remembers what it is told.
type table struct {
	known     bool // every instance
	masters   []string
	supposed  func(ev vrrp.Event, since time.Time) // may be nil
	delivered []vrrp.Event
	ends      []end
	ending    int // instances that End ends
}

// end is a call of End.
type end struct {
	cause  error
	before time.Time
}

func (t *table) Known(string) bool { return t.known }
func (t *table) Masters() []string { return t.masters }

// take has a reconciler deliver a burst to the table.
func (t *table) take(r *Reconciler, burst []vrrp.Event) {
	r.Deliver(burst, func() { t.delivered = append(t.delivered, burst...) })
}

func (t *table) Suppose(ev vrrp.Event, since time.Time) bool {
	t.supposed(ev, since)
	return true
}

func (t *table) End(cause error, before time.Time) int {
	t.ends = append(t.ends, end{cause, before})
	return t.ending
}

// daemon is a Keepalived with the answers that a test wants.
type daemon struct {
	verdict  keepalived.Verdict
	unproven bool
	states   keepalived.Dump // nil: cannot be had
	asked    bool
	expected int // calls of Expect
}

func (d *daemon) Verdict() keepalived.Verdict { return d.verdict }

func (d *daemon) Expect() bool {
	d.expected++
	return false
}

func (d *daemon) Current() (keepalived.Processes, error) {
	return keepalived.Processes{Parent: 1, VRRP: 2, Proven: !d.unproven}, nil
}

func (d *daemon) Dump(context.Context) (keepalived.Dump, error) {
	d.asked = true
	if d.states == nil {
		return nil, errors.New("no JSON")
	}
	return d.states, nil
}

func TestReconciler(t *testing.T) {
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
	here := presence.Bound{netip.MustParseAddr("192.0.2.1"): {"eth0"}}
	lost := func(name string, state vrrp.State) vrrp.Event { return vrrp.Event{Instance: name, State: state} }
	for _, row := range []struct {
		name    string
		bound   presence.Bound
		later   presence.Bound  // a second after, nil for the same
		dump    keepalived.Dump // nil: cannot be had
		verdict keepalived.Verdict
		// These say what is not known of keepalived: whether the process is it, and in
		// which network it is; a process has the FIFO open to write.
		unproven, elsewhere, written bool
		known                        bool // keepalived has reported both
		masters                      []string
		lost                         []vrrp.Event
		want                         map[string]vrrp.State
		asked                        bool
	}{
		{name: "found bound, keepalived agrees", bound: here, dump: keepalived.Dump{"a": vrrp.Master, "b": vrrp.Backup}, verdict: keepalived.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "found bound, keepalived denies", bound: here, dump: keepalived.Dump{"a": vrrp.Backup}, verdict: keepalived.Alive, asked: true},
		{name: "found bound, keepalived cannot be asked", bound: here, verdict: keepalived.Alive,
			want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "found bound, only the name of the process is keepalived's", bound: here, verdict: keepalived.Alive, unproven: true, asked: true},
		{name: "found bound, only the name of the process is keepalived's, and it has the FIFO open", bound: here, verdict: keepalived.Alive, unproven: true, written: true,
			want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "lines lost, and the network of keepalived is not known", bound: presence.Bound{}, verdict: keepalived.Alive, known: true, elsewhere: true,
			lost: []vrrp.Event{lost("a", vrrp.Master)}, want: map[string]vrrp.State{"a": vrrp.Master}, asked: true},
		{name: "bound, but being cleared away", bound: here, later: presence.Bound{}, verdict: keepalived.Alive, asked: true},
		{name: "bound only at the second reading", bound: presence.Bound{netip.MustParseAddr("192.0.2.2"): {"eth0"}}, later: here, verdict: keepalived.Alive, asked: true},
		{name: "left behind by a dead keepalived", bound: here, verdict: keepalived.Dead},
		{name: "no keepalived found", bound: here, verdict: keepalived.Unknown},
		{name: "nothing bound, keepalived is not asked", bound: presence.Bound{}, verdict: keepalived.Alive},
		{name: "keepalived has spoken", bound: here, verdict: keepalived.Alive, known: true},
		{name: "lines lost, keepalived's word decides", bound: here, dump: keepalived.Dump{"a": vrrp.Master, "b": vrrp.Fault}, verdict: keepalived.Alive, known: true,
			lost: []vrrp.Event{lost("a", vrrp.Backup), lost("b", vrrp.Master)},
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Fault}, asked: true},
		{name: "lines lost, addresses decide", bound: here, verdict: keepalived.Alive, known: true,
			lost: []vrrp.Event{lost("a", vrrp.Backup), lost("b", vrrp.Master)},
			want: map[string]vrrp.State{"a": vrrp.Master, "b": vrrp.Backup}, asked: true},
		{name: "lines lost, nothing decides but the last that was not", bound: here, verdict: keepalived.Unknown, known: true,
			lost: []vrrp.Event{lost("managed", vrrp.Backup), lost("managed", vrrp.Master), lost("gone", vrrp.Fault)},
			want: map[string]vrrp.State{"managed": vrrp.Master, "gone": vrrp.Fault}},
		{name: "renamed, as keepalived confirms", bound: here, dump: keepalived.Dump{"a": vrrp.Master}, verdict: keepalived.Alive, masters: []string{"former"},
			want: map[string]vrrp.State{"a": vrrp.Master, "former": vrrp.Deleted}, asked: true},
		{name: "renamed, keepalived cannot be asked", bound: here, verdict: keepalived.Alive, masters: []string{"former"},
			want: map[string]vrrp.State{"a": vrrp.Master, "former": vrrp.Deleted}, asked: true},
		{name: "renamed in the file, keepalived not told yet", bound: here, dump: keepalived.Dump{"former": vrrp.Master}, verdict: keepalived.Alive, masters: []string{"former"}, asked: true},
		{name: "lines lost and keepalived dead", bound: here, verdict: keepalived.Dead, known: true,
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
				board := status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil))
				d := &daemon{verdict: row.verdict, unproven: row.unproven, states: row.dump}
				r := New(Options{
					Table: &table{known: row.known, masters: row.masters, supposed: func(ev vrrp.Event, since time.Time) {
						if ev.Reason == "" || since.IsZero() != (len(row.lost) == 0 && ev.State == vrrp.Master) {
							t.Errorf("supposed %+v since %v", ev, since)
						}
						got[ev.Instance] = ev.State
					}},
					Keepalived: d,
					Book:       &reading.Book{Path: path},
					Board:      board,
					Bound: func() (presence.Bound, bool, error) {
						if row.later != nil && time.Since(begun) >= time.Second {
							return row.later, !row.elsewhere, nil
						}
						return row.bound, !row.elsewhere, nil
					},
					Flush:   func(context.Context) {},
					Written: func() bool { return row.written },
					Deaf:    func() string { return "" },
					Journal: journal.New(nil),
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				if row.lost != nil {
					r.Lost(row.lost)
				} else {
					r.Review()
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
				corrections := map[string]int{}
				for _, in := range board.Snapshot() {
					corrections[in.Instance] = in.Corrections
				}
				for name := range row.want {
					if corrections[name] != 1 {
						t.Errorf("%s counts as corrected %d times, want once", name, corrections[name])
					}
				}
				if d.asked != row.asked {
					t.Errorf("keepalived was asked: %v, want %v", d.asked, row.asked)
				}
			})
		})
	}
}
