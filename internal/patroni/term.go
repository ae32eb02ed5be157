package patroni

import (
	"context"
	"errors"
	"time"

	"berth/internal/boot"
)

// Times, from the sending of a request that was answered by yes. An address is given the
// lifetime of floor(validity - 1.25 s) = 2 s in the kernel at once, and again a quarter of
// a second later (lifetime of package netif), so that the kernel removes it 2.25 s after
// the sending at the earliest, and 3.41 s at the latest:
//
//	0.00 s   the request is sent
//	1.00 s   the next request; without an answer more at 1.25, 1.50, 1.75, 2.00, 2.25 s
//	2.25 s   the kernel begins to remove the addresses of a berth that is frozen; it is
//	         up to 1.16 s late, in most cases less than 0.3 s
//	3.00 s   a berth that runs has ended the term, and deleted what the kernel has not
//	3.50 s   the end, by which every address is gone
//
// A frozen Patroni loses the addresses 3 s after its last answer, and a frozen berth in
// most cases 2.6 s after that, 3.41 s at the most. A request that is answered within 1.2 s
// after it was due comes in time, on a busy machine as well.
const (
	// interval is how often Patroni is asked.
	interval = time.Second
	// retry is the time from the sending of a request that has failed, or has no answer
	// yet, to that of the next one. They go on beside each other: the first that is
	// answered counts.
	retry = 250 * time.Millisecond
	// validity is how long a yes is believed, and margin how long before its end berth
	// begins to act on that.
	validity = 3500 * time.Millisecond
	margin   = 500 * time.Millisecond
	// patience is how long a request may take: an answer that comes later is of no use.
	patience = validity - margin
	// handover is how long a host to which the lead has come waits before it acts. The
	// former leader's Patroni says no before this one says yes; the berth there notices at
	// its next request, which it sends an interval after the last at the latest, and again
	// if there is no answer.
	handover = interval + 2*retry
)

// errOverdue ends a term.
var errOverdue = errors.New("no answer of Patroni has confirmed the role in time")

// term is a time in which this host is known to have the role. Its context ends, with the
// cause, when it has it no more.
type term struct {
	f      *Follower
	ctx    context.Context
	cancel context.CancelCauseFunc
	acts   time.Time // when its owner may begin to act; zero for at once

	// Guarded by the lock of the follower: when the request was sent that was last
	// answered by yes.
	sent moment
}

// moment is a time on the monotonic clock, and on the one that goes on while the machine
// is suspended.
type moment struct {
	time.Time
	boot time.Duration
}

func now() moment { return moment{time.Now(), boot.Clock()} }

// end returns the moment that is validity later, nearer by the time for which the machine
// was suspended.
func (m moment) end() time.Time { return m.Add(validity - boot.Suspended(m.Time, m.boot)) }

// Check returns nil while the term stands. It asks the clocks, unlike the context, which
// needs a timer to fire.
func (t *term) Check() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	if !time.Now().Before(t.End().Add(-margin)) {
		return errOverdue
	}
	return nil
}

// End returns the moment by which every address must be gone.
func (t *term) End() time.Time {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	return t.sent.end()
}
