package election

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Causes with which a term ends.
var (
	// ErrOverdue says that no renewal was acknowledged in time.
	ErrOverdue = errors.New("etcd has not acknowledged the lease in time")
	// ErrLeaseLost says that etcd does not have the lease any more.
	ErrLeaseLost = errors.New("etcd has no such lease any more")
	// ErrLeave is the cause with which a caller ends a context to have lease,
	// keys and addresses left as they are, for a successor on this host.
	ErrLeave = errors.New("leaving everything to a successor")
)

// errStalled ends a term whose process was not run for so long that it cannot
// know what happened meanwhile.
var errStalled = errors.New("this process was stopped for a while")

// margin is how long before its possible end in etcd a lease ends here.
func margin(ttl time.Duration) time.Duration { return max(ttl/10, 500*time.Millisecond) }

const (
	// keepLead is how long before the end of the lease a term begins to be kept
	// without etcd. The kernel, which measures the lives of addresses in seconds
	// and roughly, must not have taken them away by then.
	keepLead = 2500 * time.Millisecond
	// keepTick is how often a term that is kept looks whether the process was
	// stalled; keepStall is how late a tick may be.
	keepTick  = 500 * time.Millisecond
	keepStall = time.Second
)

// Term is a time during which the lease is known to be ours. Its context is
// that knowledge: it ends, with the cause, before etcd can give what the lease
// protects to anybody else.
//
// The clock starts when a renewal is sent, not when it is acknowledged: etcd
// counts from a moment in between, so ours is the earlier end. A margin is
// taken off for the way from here to the effect.
type Term struct {
	Lease clientv3.LeaseID

	era    int // of etcd's history
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu   sync.Mutex
	sent time.Time     // of the newest acknowledged renewal, on the monotonic clock
	boot time.Duration // the same moment since boot, suspension included
	ttl  time.Duration
	kept bool // sent and boot are those of a moment at which we went on without etcd
	// acknowledged is when the newest acknowledged renewal was sent.
	acknowledged time.Time
}

// End returns the earliest moment at which etcd can end the lease. While a term
// is kept without etcd, it is as if a renewal had just been acknowledged. Time
// that the machine was suspended brings it nearer.
func (t *Term) End() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent.Add(t.ttl - t.suspended())
}

// suspended returns for how long the machine was suspended since the renewal,
// which the monotonic clock leaves out. It is called with the lock held.
func (t *Term) suspended() time.Duration {
	// The two clocks are not read at once.
	if d := bootTime() - t.boot - time.Since(t.sent); d > 100*time.Millisecond {
		return d
	}
	return 0
}

// Check returns nil while the term stands. Unlike the context, whose end needs a
// timer to fire, it asks the clocks: call it immediately before each write to
// the outside.
func (t *Term) Check() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.sent)+t.suspended() >= t.ttl-margin(t.ttl) {
		return ErrOverdue
	}
	return nil
}

// before returns the moment that is so long before the end.
func (t *Term) before(d time.Duration) time.Time { return t.End().Add(-d) }

// extend takes an acknowledged renewal and reports whether it is news. To a term
// that is kept it is none if it would have to be kept on at once, lead before its
// end: etcd answers what it was asked long ago in any order.
func (t *Term) extend(r renewal, lead time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept && time.Since(r.sent) >= r.ttl-lead || !t.kept && !r.sent.After(t.sent) {
		return false
	}
	t.sent, t.boot, t.ttl, t.kept, t.acknowledged = r.sent, r.boot, r.ttl, false, r.sent
	return true
}

// length is the time to live of the lease.
func (t *Term) length() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ttl
}

// keep goes on without etcd from now on. A process that is stopped after this
// finds its term over when it goes on.
func (t *Term) keep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent, t.boot, t.kept = time.Now(), bootTime(), true
}

// isKept reports whether the term goes on without etcd, and since when that has
// acknowledged nothing.
func (t *Term) isKept() (kept bool, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept, t.acknowledged
}

// renewal is one acknowledged grant or keep-alive.
type renewal struct {
	lease clientv3.LeaseID
	sent  time.Time
	boot  time.Duration
	ttl   time.Duration
	era   int // of etcd's history
}
