package witness

import (
	"context"
	"time"

	"berth/internal/condition"
)

// Lease is the condition that this host has a lease in etcd, without which it cannot act
// for an address. A host without one must not keep others out: as long as it lives and
// ranks before them, none of them would take over.
type Lease struct {
	condition.Value
	end      func() time.Time
	interval time.Duration
	presumed time.Time
}

// noLease is why the condition does not hold.
const noLease = "it has no lease in etcd, which does not acknowledge one"

// NewLease returns the condition, which does not hold before Follow.
func NewLease() *Lease {
	l := &Lease{}
	l.Set(false, noLease)
	return l
}

// Follow is called once, before Run. end tells when the lease ends unless etcd acknowledges
// it again, and is in the past without one; it is asked every interval. Before the moment
// presumed the condition holds without a lease: a process that adopts the lease of the one
// before it must not seem unable to its peers, which could not have that lease's keys yet.
func (l *Lease) Follow(end func() time.Time, interval time.Duration, presumed time.Time) {
	l.end, l.interval, l.presumed = end, interval, presumed
	l.look()
}

// Run follows the lease until ctx ends, and returns the cause. Package election tells of
// the lease in the log.
func (l *Lease) Run(ctx context.Context) error {
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		l.look()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (l *Lease) look() {
	now := time.Now()
	l.Set(now.Before(l.presumed) || now.Before(l.end()), noLease)
}
