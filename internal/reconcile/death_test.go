package reconcile

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// dead returns a reconciler of which flush is the flush, and the codes that it tells.
func dead(t *table, d *daemon, flush func(context.Context)) (r *Reconciler, told func() []string) {
	core, logs := observer.New(zap.InfoLevel)
	r = New(Options{Table: t, Keepalived: d, Flush: flush, Deaf: func() string { return "" }, Dying: &atomic.Int32{}, Journal: journal.New(zap.New(core))})
	return r, func() (codes []string) {
		for _, line := range logs.TakeAll() {
			codes = append(codes, line.ContextMap()["code"].(string))
		}
		return codes
	}
}

var master100 = []vrrp.Event{{Instance: "a", State: vrrp.Master, Priority: 100}}

// The pidfd is readable before the FIFO was read to its end.
func TestTheLastLinesOfAKeepalivedThatDiedComeBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		table := &table{ending: 2, known: true}
		var r *Reconciler
		r, told := dead(table, &daemon{verdict: keepalived.Dead}, func(context.Context) {
			time.Sleep(100 * time.Millisecond)
			table.take(r, []vrrp.Event{{Instance: "a", State: vrrp.Backup}})
			table.take(r, master100)
			if n := len(table.ends); n != 1 {
				t.Errorf("%d ends while the last lines are delivered, want that of the MASTER", n)
			}
		})
		r.Died(t.Context(), 7, at)
		if len(table.delivered) != 2 || len(table.ends) != 2 {
			t.Fatalf("delivered %v, ended %v", table.delivered, table.ends)
		}
		for _, end := range table.ends {
			if !errors.Is(end.cause, keepalived.ErrDied) || end.before != at.Add(100*time.Millisecond) {
				t.Errorf("ended %+v, want all that began until the lines were read", end)
			}
		}
		if diff := cmp.Diff([]string{"keepalived-died-master", "keepalived-died"}, told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// keepalived was restarted: its successor may have written lines since.
func TestTheDeathOfAKeepalivedThatHasASuccessorEndsOnlyWhatBeganBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		table := &table{}
		r, told := dead(table, &daemon{verdict: keepalived.Alive}, func(context.Context) { time.Sleep(100 * time.Millisecond) })
		r.Died(t.Context(), 7, at)
		if len(table.ends) != 1 || table.ends[0].before != at {
			t.Errorf("ended %+v, want what began before %v", table.ends, at)
		}
		if diff := cmp.Diff([]string{"keepalived-ended"}, told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

func TestAFIFOThatCannotBeReadToItsEndDelaysTheEndByTwoSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		table := &table{ending: 1}
		r, _ := dead(table, &daemon{verdict: keepalived.Dead}, func(ctx context.Context) { <-ctx.Done() })
		r.Died(t.Context(), 7, at)
		if took := time.Since(at); len(table.ends) != 1 || took != 2*time.Second {
			t.Errorf("ended %+v after %v", table.ends, took)
		}
	})
}

func TestAFIFOThatIsClosedForGoodIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &table{ending: 1}
		flushed := false
		r, told := dead(table, &daemon{verdict: keepalived.Unknown}, func(context.Context) { flushed = true })
		r.Silent(t.Context(), time.Now().Add(-2*time.Second))
		if !flushed || len(table.ends) != 1 || !errors.Is(table.ends[0].cause, keepalived.ErrDied) || !strings.Contains(table.ends[0].cause.Error(), "it has closed the FIFO") {
			t.Errorf("flushed %v, ended %+v", flushed, table.ends)
		}
		if diff := cmp.Diff([]string{"fifo-closed"}, told()); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		table.ending = 0
		if r.Silent(t.Context(), time.Now()); len(told()) != 0 {
			t.Error("told although nothing was ended")
		}
	})
}

// A keepalived that was not seen to die is not dead, and only a MASTER is a reason to
// ask.
func TestAMASTEROfAKeepalivedThatIsNotFoundCountsAndIsExpected(t *testing.T) {
	for _, row := range []struct {
		name     string
		verdict  keepalived.Verdict
		burst    []vrrp.Event
		expected int
	}{
		{"alive", keepalived.Alive, master100, 0},
		{"not found", keepalived.Unknown, master100, 1},
		{"the former died long ago", keepalived.Dead, master100, 1},
		{"not found, and no MASTER", keepalived.Unknown, []vrrp.Event{{Instance: "a", State: vrrp.Backup}}, 0},
	} {
		table, d := &table{known: true}, &daemon{verdict: row.verdict}
		r, _ := dead(table, d, func(context.Context) {})
		table.take(r, row.burst)
		if len(table.delivered) != 1 || len(table.ends) != 0 || d.expected != row.expected {
			t.Errorf("%s: delivered %v, ended %v, expected %d times; want it delivered and %d", row.name, table.delivered, table.ends, d.expected, row.expected)
		}
	}
}

// A reload puts another reconciler in force while the last lines are read.
func TestTheLastLinesCountAsThoseOfTheDeadAlsoForTheNextReconciler(t *testing.T) {
	table, d := &table{ending: 1, known: true}, &daemon{verdict: keepalived.Dead}
	next, told := dead(table, d, nil)
	former, _ := dead(table, d, func(context.Context) { table.take(next, master100) })
	next.Dying = former.Dying
	former.Died(t.Context(), 7, time.Now())
	if diff := cmp.Diff([]string{"keepalived-died-master"}, told()); diff != "" || d.expected != 0 {
		t.Errorf("expected %d times, told (-want +got):\n%s", d.expected, diff)
	}
}
