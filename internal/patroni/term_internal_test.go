package patroni

import (
	"context"
	"testing"
	"time"
)

func TestATermEndsByTheClocks(t *testing.T) {
	for _, tt := range []struct {
		name           string
		age, suspended time.Duration
		stands         bool
	}{
		{"new", 0, 0, true},
		{"a moment before the end", 2900 * time.Millisecond, 0, true},
		{"at the end", 3 * time.Second, 0, false},
		{"after a suspension, of which the monotonic clock knows nothing", time.Second, 2100 * time.Millisecond, false},
		{"after a short suspension", time.Second, 1500 * time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := now()
			at.Time, at.boot = at.Add(-tt.age), at.boot-tt.age-tt.suspended
			term := &term{f: &Follower{}, sent: at}
			term.ctx, term.cancel = context.WithCancelCause(t.Context())
			defer term.cancel(nil)
			if err := term.Check(); (err == nil) != tt.stands {
				t.Errorf("want it to stand: %t, got %v", tt.stands, err)
			}
			left := 3500*time.Millisecond - tt.age - tt.suspended
			if got := time.Until(term.End()); got > left+time.Second/10 || got < left-time.Second {
				t.Errorf("want the end in %v, got it in %v", left, got)
			}
		})
	}
}
