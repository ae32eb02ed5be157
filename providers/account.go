package providers

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/vrrp"
)

const (
	// snapshotAge is how old, counted from its start, a look at the account may
	// be to serve somebody who did not wait for it.
	snapshotAge = time.Second
	// snapshotGap is the least time between the starts of two looks.
	snapshotGap = 200 * time.Millisecond
)

// Account reads a provider account once for all its addresses. There is one per
// account and process. It is safe for concurrent use.
type Account struct {
	name     string
	provider Provider

	mu      sync.Mutex // guards all below
	targets map[netip.Addr]int
	looks   []*look                 // running, or due soon
	last    *snapshot               // the newest that succeeded
	begun   uint64                  // looks that have started
	nextAt  time.Time               // no look starts before
	audit   context.CancelCauseFunc // ends the audit under way, nil if none is
}

type snapshot struct {
	number  uint64
	started time.Time
	holders map[netip.Addr]Holder
}

// since says which looks are new enough for somebody. Numbers tell what time
// cannot where clocks are coarse: whether a look began before a write or after.
type since struct {
	time  time.Time // started then or later
	after uint64    // of a higher number
}

func (s since) admits(number uint64, started time.Time) bool {
	return number > s.after && !started.Before(s.time)
}

// look is a call of Observe that several wait for.
type look struct {
	*call[map[netip.Addr]Holder]
	number  uint64              // in the order of starts, 0 while it is not due yet
	started time.Time           // valid when number is
	addrs   map[netip.Addr]bool // what it asks for, settled when it starts
}

// NewAccount returns the account behind a provider; name is the provider's, as
// in the configuration.
func NewAccount(name string, p Provider) *Account {
	return &Account{name: name, provider: p, targets: map[netip.Addr]int{}}
}

// errNoTargets is the cause with which an audit ends.
var errNoTargets = errors.New("no address is kept here any more")

// Run makes the audits that the provider wants, until ctx ends, of which it
// returns the cause. An audit goes on only while there are targets: a host that
// keeps no address makes no calls.
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

// Observe tells who has addr, from a look at the account that covers the
// addresses of all targets. The look started at or after notBefore; it is at
// most one second old, or the caller has waited for it. Callers share looks, and
// a look goes on as long as one of them waits. Under a burst looks start at least
// 200 ms apart, the first at once. Errors are those of Provider.Observe, and
// the cause of ctx.
func (a *Account) Observe(ctx context.Context, addr netip.Addr, notBefore time.Time) (Holder, error) {
	return a.observe(ctx, addr, since{time: notBefore})
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
	l := a.join(addr, from)
	if l == nil {
		l = a.begin(ctx, addr)
	}
	l.waiters++
	a.mu.Unlock()

	holders, err := l.wait(ctx, &a.mu, func() { a.forget(l) })
	switch {
	case err == nil:
		return holders[addr], nil
	case ctx.Err() != nil:
		return Holder{}, EndedError(ctx, a.name, opObserve)
	}
	return Holder{}, err
}

// join returns a look under way that will do. It is called with mu held.
func (a *Account) join(addr netip.Addr, from since) *look {
	for _, l := range slices.Backward(a.looks) {
		switch {
		case l.number == 0: // still to come, and so new enough
			l.addrs[addr] = true
			return l
		case from.admits(l.number, l.started) && l.addrs[addr]:
			return l
		}
	}
	return nil
}

// begin plans a look. It is called with mu held.
func (a *Account) begin(ctx context.Context, addr netip.Addr) *look {
	l := &look{addrs: map[netip.Addr]bool{addr: true}}
	wait := time.Until(a.nextAt)
	a.nextAt = time.Now().Add(max(wait, 0) + snapshotGap)
	l.call = newCall(ctx, func(ctx context.Context) (map[netip.Addr]Holder, error) {
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
			l.addrs[addr] = true
		}
		a.begun++
		l.number, l.started = a.begun, time.Now()
		addrs := slices.SortedFunc(maps.Keys(l.addrs), netip.Addr.Compare)
		a.mu.Unlock()
		return a.provider.Observe(ctx, addrs)
	}, func(holders map[netip.Addr]Holder, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if err == nil && (a.last == nil || l.number > a.last.number) {
			a.last = &snapshot{number: l.number, started: l.started, holders: holders}
		}
		a.forget(l)
	})
	a.looks = append(a.looks, l)
	return l
}

// forget is called with mu held.
func (a *Account) forget(l *look) {
	a.looks = slices.DeleteFunc(a.looks, func(o *look) bool { return o == l })
}

const opObserve = "observe floating IP"

// Target is one floating IP of an account that is to be pointed at this host. It
// does what package refresher asks of a target.
type Target struct {
	account *Account
	ip      vrrp.FloatingIP
	check   func(context.Context) error
	once    sync.Once

	mu    sync.Mutex
	valid since // looks that can still say something
}

// Target returns the target for a floating IP; until its Close every look at the
// account covers it. check is called immediately before each write and forbids
// it by an error, which Ensure returns as it is.
func (a *Account) Target(ip vrrp.FloatingIP, check func(context.Context) error) *Target {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.targets[ip.Addr()]++
	return &Target{account: a, ip: ip, check: check}
}

// Close ends the registration of the target with its account.
func (t *Target) Close() {
	t.once.Do(func() {
		a := t.account
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.targets[t.ip.Addr()]--; a.targets[t.ip.Addr()] == 0 {
			delete(a.targets, t.ip.Addr())
		}
		if len(a.targets) == 0 && a.audit != nil {
			a.audit(errNoTargets)
		}
	})
}

// String names the provider and the address.
func (t *Target) String() string { return t.account.name + " " + t.ip.Addr().String() }

// Ensure points the floating IP at this host unless it is here already, and
// reads back that it is. With claimFirst it does not look before. changed tells
// that a claim was made; previous names who had the address before, as far as
// that was looked at and there was anybody. Both are set also when err says that
// the claim could not be confirmed. It is idempotent, and not to be called twice
// at the same time.
//
// Errors are *Error, what check returned, and nothing else. An address that is no
// floating IP of the account gives the kind NotFound.
func (t *Target) Ensure(ctx context.Context, claimFirst bool) (previous string, changed bool, err error) {
	addr := t.ip.Addr()
	if !claimFirst {
		h, err := t.account.observe(ctx, addr, t.validLooks())
		switch {
		case err != nil:
			return "", false, err
		case h.Kind == Mine:
			return "", false, nil
		case h.Kind == NotManaged:
			return "", false, NotManagedError(t.account.name, opObserve, addr)
		case h.Kind == Unknown:
			return "", false, t.unknown(h)
		}
		previous = h.Owner
	}

	err = t.account.provider.Claim(ctx, addr, t.check)
	// What was seen before our own write, whatever came of that, says nothing
	// any more.
	t.outdateLooks()
	if err != nil {
		return previous, false, err
	}

	h, err := t.account.observe(ctx, addr, t.validLooks())
	if err == nil && h.Kind != Mine {
		t.outdateLooks() // a look that contradicts the API's own answer counts once
	}
	switch {
	case err != nil:
		return previous, true, err
	case h.Kind == Mine:
		return previous, true, nil
	case h.Kind == NotManaged:
		return previous, true, NotManagedError(t.account.name, opObserve, addr)
	case h.Kind == Unknown:
		return previous, true, t.unknown(h)
	}
	e := &Error{Provider: t.account.name, Op: opObserve, Kind: Transient,
		Detail: addr.String() + " was pointed here but is with " + cmp.Or(h.Owner, "nobody")}
	if !h.Beside {
		e.Taker = h.Owner
	}
	return previous, true, e
}

// unknown is the error for an address of which is not known whether others have
// it too.
func (t *Target) unknown(h Holder) error {
	return &Error{Provider: t.account.name, Op: opObserve, Kind: Transient,
		Detail: t.ip.Addr().String() + " points here, others may have it too: " + h.Owner}
}

func (t *Target) validLooks() since {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.valid
}

// outdateLooks makes the target rely only on looks that start from now on.
func (t *Target) outdateLooks() {
	t.account.mu.Lock()
	begun := t.account.begun
	t.account.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.valid = since{after: begun}
}
