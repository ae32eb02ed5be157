package providers

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// snapshotAge is how old, counted from its start, an observation of the account
	// may be to serve a caller that did not wait for it.
	snapshotAge = time.Second
	// snapshotGap is the least time between the starts of two observations.
	snapshotGap = 200 * time.Millisecond
)

// Account reads a provider account once for all its addresses. There is one per
// account and process. It is safe for concurrent use.
type Account struct {
	name     string
	provider Provider

	mu      sync.Mutex // guards all below
	targets map[netip.Addr]int
	running []*observation          // or due soon
	last    *snapshot               // the newest that succeeded
	begun   uint64                  // observations that have started
	nextAt  time.Time               // no observation starts before
	audit   context.CancelCauseFunc // ends the audit under way, nil if none is
}

type snapshot struct {
	number  uint64
	started time.Time
	holders map[netip.Addr]Holder
}

// since says which observations are new enough for a caller. Numbers tell what time
// cannot where clocks are coarse: whether an observation began before a write or
// after.
type since struct {
	time  time.Time // started then or later
	after uint64    // of a higher number
}

func (s since) admits(number uint64, started time.Time) bool {
	return number > s.after && !started.Before(s.time)
}

// observation is a call of Observe that several callers wait for.
type observation struct {
	*call[map[netip.Addr]Holder]
	number  uint64              // in the order of starts, 0 until it starts
	started time.Time           // valid when number is
	addrs   map[netip.Addr]bool // those asked for, complete when it starts
}

// NewAccount returns the account behind a provider; name is the provider's, as
// in the configuration.
func NewAccount(name string, p Provider) *Account {
	return &Account{name: name, provider: p, targets: map[netip.Addr]int{}}
}

// errNoTargets is the cause with which an audit ends.
var errNoTargets = errors.New("no address is wanted here any more")

// Run makes the audits that the provider wants, until ctx ends, and returns the
// cause of that. An audit goes on only while there are targets: a host without
// addresses makes no calls.
func (a *Account) Run(ctx context.Context) error {
	var due <-chan struct{} // of a provider without audits: never
	auditor, ok := a.provider.(Auditor)
	if ok {
		due = auditor.AuditDue()
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-due:
		}
		auditCtx, cancel := context.WithCancelCause(ctx)
		a.mu.Lock()
		wanted := len(a.targets) > 0
		a.audit = cancel
		a.mu.Unlock()
		if wanted {
			auditor.Audit(auditCtx)
		}
		a.mu.Lock()
		a.audit = nil
		a.mu.Unlock()
		cancel(nil)
	}
}

// Observe returns the holder of addr, from an observation of the account that covers
// the addresses of all targets. The observation started at or after notBefore; it is
// at most one second old, or the caller has waited for it. Callers share
// observations, and an observation goes on as long as one of them waits. Under a
// burst observations start at least 200 ms apart, the first at once. Errors are those
// of Provider.Observe, and the cause of ctx.
func (a *Account) Observe(ctx context.Context, addr netip.Addr, notBefore time.Time) (Holder, error) {
	return a.observe(ctx, addr, since{time: notBefore})
}

// ObserveAnew is Observe with an observation that starts after the call of ObserveAnew:
// it tells what a write before has done.
func (a *Account) ObserveAnew(ctx context.Context, addr netip.Addr) (Holder, error) {
	a.mu.Lock()
	begun := a.begun
	a.mu.Unlock()
	return a.observe(ctx, addr, since{after: begun})
}

func (a *Account) observe(ctx context.Context, addr netip.Addr, from since) (Holder, error) {
	if ctx.Err() != nil {
		return Holder{}, EndedError(ctx, a.name, opObserve)
	}
	a.mu.Lock()
	if s := a.last; s != nil && from.admits(s.number, s.started) && time.Since(s.started) <= snapshotAge {
		if h, ok := s.holders[addr]; ok {
			a.mu.Unlock()
			return h, nil
		}
	}
	o := a.join(addr, from)
	if o == nil {
		o = a.begin(ctx, addr)
	}
	o.waiters++
	a.mu.Unlock()

	holders, err := o.wait(ctx, &a.mu, func() { a.forget(o) })
	switch {
	case err == nil:
		return holders[addr], nil
	case ctx.Err() != nil:
		return Holder{}, EndedError(ctx, a.name, opObserve)
	}
	return Holder{}, err
}

// join returns an observation under way that is new enough and covers addr, nil if
// there is none. It is called with mu held.
func (a *Account) join(addr netip.Addr, from since) *observation {
	for _, o := range slices.Backward(a.running) {
		switch {
		case o.number == 0: // still to come, and so new enough
			o.addrs[addr] = true
			return o
		case from.admits(o.number, o.started) && o.addrs[addr]:
			return o
		}
	}
	return nil
}

// begin plans an observation. It is called with mu held.
func (a *Account) begin(ctx context.Context, addr netip.Addr) *observation {
	o := &observation{addrs: map[netip.Addr]bool{addr: true}}
	wait := time.Until(a.nextAt)
	a.nextAt = time.Now().Add(max(wait, 0) + snapshotGap)
	o.call = newCall(ctx, func(ctx context.Context) (map[netip.Addr]Holder, error) {
		if wait > 0 {
			t := time.NewTimer(wait)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		a.mu.Lock()
		for addr := range a.targets {
			o.addrs[addr] = true
		}
		a.begun++
		o.number, o.started = a.begun, time.Now()
		addrs := slices.SortedFunc(maps.Keys(o.addrs), netip.Addr.Compare)
		a.mu.Unlock()
		return a.provider.Observe(ctx, addrs)
	}, func(holders map[netip.Addr]Holder, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if err == nil && (a.last == nil || o.number > a.last.number) {
			a.last = &snapshot{number: o.number, started: o.started, holders: holders}
		}
		a.forget(o)
	})
	a.running = append(a.running, o)
	return o
}

// forget is called with mu held.
func (a *Account) forget(o *observation) {
	a.running = slices.DeleteFunc(a.running, func(other *observation) bool { return other == o })
}

const opObserve = "observe floating IP"
