package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/vrrp"

	"go.uber.org/zap"
)

// own runs the holding for as long as this member is the owner.
func (k *candidate) own(campaign context.Context, term *Term, token int64) error {
	ctx, cancel := context.WithCancelCause(campaign)
	defer cancel(nil)
	stop := context.AfterFunc(term.ctx, func() { cancel(context.Cause(term.ctx)) })
	defer stop()
	k.tellOwning(token, false)
	k.Journal.Tell(instanceAcquired, zap.Int64("token", token))
	done := make(chan error, 1)
	go func() { done <- k.holding(ctx, Grant{Token: token, term: term}) }()
	lasts := time.After(retryHolding)
	v, _ := k.m.observer.view(k.ref())
	newest, acknowledged := v.newest(), fresh(term)
	for {
		_, _, newTerm := k.m.session.state()
		v, changed := k.m.observer.view(k.ref())
		n, now := v.newest(), fresh(term)
		if (n > newest || now && !acknowledged) && k.Joined != nil {
			k.Joined()
		}
		newest, acknowledged = max(newest, n), now
		if ctx.Err() == nil {
			k.tellOwning(token, !now)
		}
		if cause := k.mustEnd(v, term, token); cause != nil {
			cancel(cause)
		}
		select {
		case err := <-done:
			k.tellEnd(ctx, campaign, term)
			return k.ended(ctx, err)
		case <-ctx.Done():
			err := <-done
			k.tellEnd(ctx, campaign, term)
			return k.ended(ctx, err)
		case <-lasts:
			k.owning.Clear()
		case <-changed:
		case <-newTerm:
		case <-k.ableChanged:
		}
	}
}

// tellOwning tells that this member is the owner, with a lease that etcd acknowledges or
// without.
func (k *candidate) tellOwning(token int64, retained bool) {
	s := Status{State: vrrp.Master, Owner: k.m.Name, Token: token, Retained: retained, Reason: "elected"}
	if retained {
		s.Reason = "etcd does not acknowledge the lease; going on without it"
	}
	k.tell(s)
}

// mustEnd returns why this member must not be the owner any more, nil while it may.
func (k *candidate) mustEnd(v view, term *Term, token int64) (cause error) {
	switch ok, why := k.Able.State(); {
	case !ok:
		cause = &UnableError{why}
	case k.yields(v):
		cause = ErrHandOver
	}
	switch v.position(term.era, token) {
	case lost:
		if cause == nil {
			cause = ErrKeyLost
		}
	case waiting: // the break ends the term
		k.m.Etcd.history.breaks(term.era, fmt.Errorf("the owner of %s is not the first in the queue any more", k.Instance))
	}
	return cause
}

// tellEnd tells the end of an ownership at once, and not only when etcd has confirmed
// that the key is gone. An owner that leaves everything to a successor gives up nothing.
func (k *candidate) tellEnd(ctx, campaign context.Context, term *Term) {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(context.Cause(campaign), ErrLeave) {
		return
	}
	s := Status{State: vrrp.Backup, Reason: cause.Error()}
	var unable *UnableError
	if term.ctx.Err() != nil || errors.As(cause, &unable) {
		s.State = vrrp.Fault
	}
	k.tell(s)
}

// ended tells why ownership ended. The error of the holding counts only if nothing else
// has ended it.
func (k *candidate) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		k.Journal.Tell(instanceLost, zap.NamedError("reason", cause))
		return nil
	}
	if err == nil {
		err = errors.New("the holding ended by itself")
	}
	return err
}
