package election

import (
	"context"
	"errors"
	"sync"
	"time"

	"berth/internal/boot"
	"berth/vrrp"
)

// lone is the permission of campaigns that act without etcd: a term without a lease,
// which this process renews by itself. It protects against no other member; it ends
// where this process stands still, as the kernel's lifetimes of the addresses do.
type lone struct {
	ttl     time.Duration
	renewed func() // told when the end of the term has moved; must not block
	metrics *Metrics
	wake    chan struct{} // one slot

	mu     sync.Mutex
	acting int   // campaigns
	term   *Term // nil without them
}

// begin notes that a campaign acts alone, and returns its permission. Call end when it
// does so no more.
func (l *lone) begin() *Term {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acting++; l.acting == 1 {
		l.term = l.newTerm()
		l.metrics.degraded(true)
		select {
		case l.wake <- struct{}{}:
		default:
		}
		l.renewed()
	}
	return l.term
}

func (l *lone) newTerm() *Term {
	t := &Term{sent: time.Now(), boot: boot.Clock(), ttl: l.ttl, retained: true}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	return t
}

func (l *lone) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acting--; l.acting == 0 {
		l.term.cancel(nil)
		l.term = nil
		l.metrics.degraded(false)
	}
}

// until returns the end of the permission, the zero time if no campaign acts alone.
func (l *lone) until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == nil {
		return time.Time{}
	}
	return l.term.End()
}

// run renews the permission until ctx ends.
func (l *lone) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for l.renew(ctx) {
		}
	}
}

// renew waits and renews the permission once. It reports whether that is still needed.
func (l *lone) renew(ctx context.Context) bool {
	due := time.Now().Add(retainTick)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(retainTick):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.term == nil:
		return false
	case time.Since(due) > retainStall || l.term.Check() != nil:
		// The kernel has taken the addresses away, or is about to.
		l.term.cancel(errStalled)
		l.term = l.newTerm()
	default:
		l.term.retain()
	}
	l.renewed()
	return true
}

// aloneFrom returns from when on this member may act without etcd, and whether it may
// then, unless what is known changes: it must be unserved, and, after this process has
// stood still, have had the time to ask etcd.
func (k *candidate) aloneFrom(v view) (from time.Time, may bool) {
	from, may = k.unservedFrom(v)
	if since := k.m.pulse.beat(); !since.IsZero() && since.Add(answerTime).After(from) {
		from = since.Add(answerTime)
	}
	return from, may
}

// unservedFrom returns from when on etcd counts as lost: this member must have had no
// lease, or have been unable to write, for longer than the lease, and no other member may
// be known to be the owner.
func (k *candidate) unservedFrom(v view) (from time.Time, may bool) {
	owned := v.valid && len(v.entries) > 0 && !k.m.is(v.entries[0])
	if owned || !k.Alone {
		return time.Time{}, false
	}
	term, acknowledged, _ := k.m.session.state()
	switch {
	case !fresh(term):
		from = acknowledged
	case !v.read:
		from = term.begun
	case !k.unwritable.IsZero():
		from = k.unwritable
	default:
		return time.Time{}, false
	}
	// A member that etcd serves takes the place of an owner that is gone at once. Where etcd
	// serves this member but for its writes, that is waited for as long.
	lasts, vacated := max(answerTime, k.m.TTL), v.vacated.Add(hedge)
	if fresh(term) {
		vacated = v.vacated.Add(lasts)
	}
	from = from.Add(lasts)
	for _, not := range []time.Time{vacated, v.until} {
		if not.After(from) {
			from = not
		}
	}
	return from, true
}

// mayActAlone reports whether this member may act without etcd now.
func (k *candidate) mayActAlone(v view) bool {
	from, may := k.aloneFrom(v)
	return may && time.Until(from) <= 0
}

// untilAlone returns a channel that tells when this member may act without etcd, nil if
// that takes a change.
func (k *candidate) untilAlone(v view) <-chan time.Time {
	if from, may := k.aloneFrom(v); may {
		return time.After(time.Until(from))
	}
	return nil
}

// fresh reports whether etcd acknowledges the lease of a term.
func fresh(t *Term) bool {
	if t == nil {
		return false
	}
	retained, _ := t.isRetained()
	return !retained
}

// alone acts without etcd until that can be used again, or another member is the owner.
func (k *candidate) alone(campaign context.Context) error {
	ctx, cancel := context.WithCancelCause(campaign)
	defer cancel(nil)
	term := k.m.lone.begin()
	defer k.m.lone.end()
	defer context.AfterFunc(term.ctx, func() { cancel(context.Cause(term.ctx)) })()
	k.tell(Status{State: vrrp.Master, Owner: k.m.Name, Reason: "etcd does not serve this host; acting without it"})
	k.Journal.Tell(instanceUnfenced)
	done := make(chan error, 1)
	go func() { done <- k.holding(ctx, Grant{term: term}) }()
	attempts, stop := context.WithCancel(ctx)
	defer stop()
	regained, trying := make(chan error, 1), false
	var again <-chan time.Time
	for {
		t, _, newTerm := k.m.session.state()
		v, changed := k.m.observer.view(k.ref())
		if ok, why := k.Able.State(); !ok {
			cancel(&UnableError{why})
		}
		switch from, may := k.unservedFrom(v); { // a standstill ends the permission
		case !may || time.Until(from) > 0:
			cancel(ErrReachable)
		case fresh(t) && !trying && again == nil:
			trying = true
			go func() { regained <- k.regain(attempts, t) }()
		}
		select {
		case err := <-done:
			if stop(); trying {
				<-regained
			}
			k.tellEnd(ctx, campaign, term)
			return k.ended(ctx, err)
		case err := <-regained:
			if trying = false; err == nil {
				k.written()
				cancel(ErrReachable)
			}
			again = time.After(refusedWait)
		case <-again:
			again = nil
		case <-newTerm:
		case <-changed:
		case <-k.ableChanged:
		}
	}
}

// regain tries whether etcd takes or deletes keys of this member again.
func (k *candidate) regain(ctx context.Context, term *Term) error {
	if k.unsettled != 0 && k.lease == term.Lease {
		ctx, stop := joined(ctx, term.ctx)
		defer stop()
		err := k.m.resign(ctx, k.ref(), k.key(term.Lease), k.unsettled, k.tenure)
		if err == nil {
			k.unsettled, k.settled = 0, k.unsettled
		}
		return err
	}
	_, _, err := k.enter(ctx, term)
	if errors.Is(err, errObstructed) {
		return nil
	}
	return err
}

// unwritten notes that etcd did not take or delete a key of this member, which it was
// asked for at that time.
func (k *candidate) unwritten(asked time.Time) {
	if k.unwritable.IsZero() {
		k.unwritable = asked
	}
}

// written notes that it did.
func (k *candidate) written() {
	k.unwritable = time.Time{}
	k.writing.Clear()
}

// Unserved waits until etcd has acknowledged no lease for longer than a lease lasts, and
// returns an error that says so with the reason, or until ctx ends, whose cause it returns.
// A process that has stood still asks etcd first.
func (m *Member) Unserved(ctx context.Context) error {
	for {
		term, acknowledged, changed := m.session.state()
		var late <-chan time.Time
		if term == nil {
			if acknowledged.IsZero() { // the member does not run yet
				acknowledged = time.Now()
			}
			left := max(time.Until(acknowledged.Add(m.TTL)), time.Until(m.pulse.beat().Add(answerTime)))
			if left <= 0 {
				return m.session.unserved(m.TTL)
			}
			late = time.After(left)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		case <-late:
		}
	}
}
