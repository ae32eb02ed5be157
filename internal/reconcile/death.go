package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/internal/keepalived"
	"berth/vrrp"

	"go.uber.org/zap"
)

// flushTimeout bounds the wait for the last lines of a keepalived that has died.
const flushTimeout = 2 * time.Second

// Deliver has a burst of keepalived's events delivered to the table, which deliver does.
// A MASTER of a keepalived that has died meanwhile begins nothing, and where no
// keepalived is found, so that its death could not be noticed, that is told.
func (r *Reconciler) Deliver(burst []vrrp.Event, deliver func()) {
	verdict := keepalived.Alive
	if slices.ContainsFunc(burst, func(ev vrrp.Event) bool { return ev.State == vrrp.Master }) {
		verdict = r.Keepalived.Verdict()
	}
	// The first line of a name may be that of a renamed instance.
	news := slices.ContainsFunc(burst, func(ev vrrp.Event) bool { return !r.Table.Known(ev.Instance) })
	deliver()
	if news {
		r.Review()
	}
	switch {
	case verdict == keepalived.Alive:
	case verdict == keepalived.Dead && r.Dying.Load() > 0:
		// It left these lines in the FIFO, or wrote them in its last moment. Any
		// that are read later are those of another keepalived, which lives.
		r.Journal.Tell(masterOfDead)
		r.Table.End(keepalived.ErrDied, time.Now())
	default:
		r.Keepalived.Expect() // after the delivery, as it takes longer than a claim may wait
	}
}

// Died ends what began under a keepalived process that has died, which was noticed at
// a moment. The events that keepalived wrote before it died come first.
func (r *Reconciler) Died(ctx context.Context, pid int, at time.Time) {
	r.Dying.Add(1)
	defer r.Dying.Add(-1)
	r.flushLast(ctx)
	if r.Keepalived.Verdict() != keepalived.Alive {
		at = time.Now() // and no other keepalived can have written what came since
	}
	if n := r.Table.End(keepalived.ErrDied, at); n > 0 {
		r.Journal.Tell(died, zap.Int("pid", pid), zap.Int("instances", n))
	} else {
		r.Journal.Tell(exited, zap.Int("pid", pid))
	}
}

// Silent ends what began under a keepalived that cannot be watched: its FIFO has had
// no writer since a moment that is long past.
func (r *Reconciler) Silent(ctx context.Context, since time.Time) {
	r.flushLast(ctx)
	if n := r.Table.End(fmt.Errorf("%w: it has closed the FIFO", keepalived.ErrDied), time.Now()); n > 0 {
		r.Journal.Tell(fifoClosed, zap.Time("since", since), zap.Int("instances", n))
	}
}

func (r *Reconciler) flushLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	r.Flush(ctx)
}
