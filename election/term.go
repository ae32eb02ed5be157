package election

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/internal/boot"

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

// errStalled ends a term whose process did not run for so long that it cannot
// know what happened meanwhile.
var errStalled = errors.New("this process was stopped for a while")

// leaseMargin is how long before its possible end in etcd a lease ends here.
func leaseMargin(ttl time.Duration) time.Duration { return max(ttl/10, 500*time.Millisecond) }

const (
	// retainLead is how long before the end of the lease a term begins to be retained
	// without etcd. The kernel, which measures the lives of addresses in seconds
	// and roughly, must not have taken them away by then.
	retainLead = 2500 * time.Millisecond
	// retainTick is how often it is checked, while a term is retained, that the process
	// was not stalled; retainStall is how late a tick may be.
	retainTick  = 500 * time.Millisecond
	retainStall = time.Second
)

// Term is a time during which this member is known to have the lease. Its context is
// that knowledge: it ends, with the cause, before etcd can give what the lease
// protects to another member.
//
// The clock starts when a renewal is sent, not when it is acknowledged: etcd
// counts from a moment in between, so that the end here is the earlier one. A margin is
// taken off for the way from here to the effect.
type Term struct {
	Lease clientv3.LeaseID

	era    int // of etcd's history
	begun  time.Time
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu   sync.Mutex
	sent time.Time     // of the newest acknowledged renewal, on the monotonic clock
	boot time.Duration // the same moment since boot, suspension included
	ttl  time.Duration
	// retained says that sent and boot are those of a moment at which this member went
	// on without etcd.
	retained bool
	// acknowledged is when the newest acknowledged renewal was sent.
	acknowledged time.Time
}

// End returns the earliest moment at which etcd can end the lease. While a term
// is retained without etcd, the end is that of a renewal which has just been
// acknowledged. Time that the machine was suspended brings the end nearer.
func (t *Term) End() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent.Add(t.ttl - t.suspended())
}

// suspended returns for how long the machine was suspended since the renewal,
// which the monotonic clock leaves out. It is called with the lock held.
func (t *Term) suspended() time.Duration { return boot.Suspended(t.sent, t.boot) }

// Check returns nil while the term stands. Unlike the context, whose end needs a
// timer to fire, it asks the clocks: call it immediately before each write to
// the outside.
func (t *Term) Check() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.sent)+t.suspended() >= t.ttl-leaseMargin(t.ttl) {
		return ErrOverdue
	}
	return nil
}

// before returns the moment that is d before the end.
func (t *Term) before(d time.Duration) time.Time { return t.End().Add(-d) }

// extend takes an acknowledged renewal and reports whether it moves the end. It does
// not move that of a retained term which would have to be retained again at once, lead
// before its end: etcd answers old requests in any order.
func (t *Term) extend(r renewal, lead time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retained && time.Since(r.sent) >= r.ttl-lead || !t.retained && !r.sent.After(t.sent) {
		return false
	}
	t.sent, t.boot, t.ttl, t.retained, t.acknowledged = r.sent, r.boot, r.ttl, false, r.sent
	return true
}

// length is the time to live of the lease.
func (t *Term) length() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ttl
}

// retain goes on without etcd from now on. A process that is stopped after this
// finds its term over when it runs again.
func (t *Term) retain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent, t.boot, t.retained = time.Now(), boot.Clock(), true
}

// isRetained reports whether the term goes on without etcd, and since when etcd has
// acknowledged nothing.
func (t *Term) isRetained() (retained bool, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.retained, t.acknowledged
}
