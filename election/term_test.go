package election

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/internal/boot"
	"berth/internal/journal"
)

// A machine cannot be suspended by a test; its clocks can be told to have been.

func newTestTerm(age, suspended time.Duration) *Term {
	t := &Term{sent: time.Now().Add(-age), boot: boot.Clock() - age - suspended, ttl: 10 * time.Second}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	return t
}

func TestASuspensionBringsTheEndNearer(t *testing.T) {
	for name, tt := range map[string]struct {
		age, suspended, left time.Duration
		stands               bool
	}{
		"never suspended":               {2 * time.Second, 0, 8 * time.Second, true},
		"suspended for a while":         {2 * time.Second, 3 * time.Second, 5 * time.Second, true},
		"suspended up to the margin":    {2 * time.Second, 7500 * time.Millisecond, 500 * time.Millisecond, false},
		"suspended for a day":           {0, 24 * time.Hour, 10*time.Second - 24*time.Hour, false},
		"not suspended, and in the end": {9500 * time.Millisecond, 0, 500 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			term := newTestTerm(tt.age, tt.suspended)
			if left := time.Until(term.End()); (left - tt.left).Abs() > 100*time.Millisecond {
				t.Errorf("want %v left, got %v", tt.left, left)
			}
			if err := term.Check(); (err == nil) != tt.stands {
				t.Errorf("want that it stands: %t, got %v", tt.stands, err)
			}
		})
	}
}

func TestASuspensionEndsATermSoonAfterWaking(t *testing.T) {
	etcd, err := NewEtcd(Options{Endpoints: []string{"http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	for name, retain := range map[string]bool{"release": false, "keep": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("it went on"))
			defer cancel()
			j := journal.New(nil)
			s := &Session{Etcd: etcd, Retain: retain, Journal: j, outage: j.Condition()}
			if err := s.maintain(ctx, newTestTerm(0, time.Hour)); !errors.Is(err, ErrOverdue) {
				t.Errorf("want it overdue, got %v", err)
			}
		})
	}
}

func TestARetainedTermTakesOnlyARenewalThatHelps(t *testing.T) {
	const lead = 2500 * time.Millisecond
	for name, tt := range map[string]struct {
		age     time.Duration
		extends bool
	}{
		"answered in time":     {time.Second, true},
		"answered rather late": {7 * time.Second, true},
		"answered too late":    {8 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			term := newTestTerm(0, 0)
			term.retain()
			r := renewal{sent: time.Now().Add(-tt.age), boot: boot.Clock() - tt.age, ttl: 10 * time.Second}
			if extends := term.extend(r, lead); extends != tt.extends {
				t.Errorf("want the end moved: %t, got %t", tt.extends, extends)
			}
		})
	}
}

func TestARenewalThatWasSentEarlierDoesNotMoveTheEnd(t *testing.T) {
	term := newTestTerm(time.Second, 0)
	end := term.End()
	earlier := renewal{sent: time.Now().Add(-3 * time.Second), boot: boot.Clock() - 3*time.Second, ttl: 10 * time.Second}
	if term.extend(earlier, time.Second) || !term.End().Equal(end) {
		t.Errorf("want the end to stay at %v, got %v", end, term.End())
	}
}
