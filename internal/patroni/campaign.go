package patroni

import (
	"context"
	"errors"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Begun waits for the first answer of Patroni, for a few seconds at the most, and reports
// whether this host has the role: then it goes on with the addresses that the process
// before this one left.
func (f *Follower) Begun(ctx context.Context) (adopted bool, err error) {
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-f.first:
		return f.standing() != nil, nil
	}
}

// Owner returns the name of this host while it has the role, and no name while Patroni
// says that it does not; ok is false while that is not known.
func (f *Follower) Owner(string) (name string, other, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.term != nil {
		name = f.o.Name
	}
	return name, f.term == nil, f.known
}

// retryHolding spaces the attempts of an owner whose holding failed at once.
const retryHolding = 2 * time.Second

// campaign is a campaign that runs.
type campaign struct {
	election.Campaign
	f           *Follower
	ableChanged <-chan struct{}
	holding     func(context.Context, int64, owner.Grant) error
	status      election.Status
	owning      *journal.Condition // why the holding ended by itself
}

// Campaign has holding called whenever this host has the role and is able, until ctx
// ends, and returns the cause. It ignores the fields of c that concern etcd.
func (f *Follower) Campaign(ctx context.Context, c election.Campaign, holding func(ctx context.Context, token int64, g owner.Grant) error) error {
	if c.Able == nil {
		c.Able = condition.All()
	}
	if c.Journal == nil {
		c.Journal = f.o.Journal.With(zap.String("instance", c.Instance))
	}
	k := &campaign{Campaign: c, f: f, holding: holding, owning: c.Journal.Condition()}
	defer k.owning.Drop()
	var stop func()
	k.ableChanged, stop = condition.Signal(c.Able)
	defer stop()
	for {
		t, err := k.await(ctx)
		if err == nil {
			err = k.own(ctx, t)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			continue
		}
		k.owning.Fail(unholdable, err, zap.Duration("wait", retryHolding))
		k.tell(vrrp.Fault, err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(retryHolding):
		}
	}
}

// tell tells what is known of the instance.
func (k *campaign) tell(state vrrp.State, reason string) {
	s := election.Status{Instance: k.Instance, State: state, Reason: reason}
	if state == vrrp.Master {
		s.Owner = k.f.o.Name
	}
	if s != k.status && k.Changed != nil {
		k.Changed(s)
	}
	k.status = s
}

// await waits until this host has the role and is able.
func (k *campaign) await(ctx context.Context) (*term, error) {
	for {
		k.f.mu.Lock()
		t, known, reason, changed := k.f.term, k.f.known, k.f.reason, k.f.changed
		k.f.mu.Unlock()
		able, why := k.Able.State()
		var later <-chan time.Time
		switch {
		case !able:
			k.tell(vrrp.Fault, why)
		case t != nil && time.Now().Before(t.acts):
			k.tell(vrrp.Backup, "Patroni says that this host is "+k.f.o.Role.String()+", and the former owner is given time to notice")
			later = time.After(time.Until(t.acts))
		case t != nil:
			return t, nil
		case known:
			k.tell(vrrp.Backup, reason)
		default:
			k.tell(vrrp.Fault, reason)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		case <-k.ableChanged:
		case <-later:
		}
	}
}

// own runs the holding while the term stands and this host is able. It returns an error
// only when the holding failed for a reason of its own.
func (k *campaign) own(ctx context.Context, t *term) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	defer stop()
	k.tell(vrrp.Master, "Patroni says that this host is "+k.f.o.Role.String())
	k.Journal.Tell(ownerBegins)
	done := make(chan error, 1)
	go func() { done <- k.holding(ctx, 0, t) }()
	lasts := time.After(retryHolding)
	for {
		if able, why := k.Able.State(); !able {
			cancel(&election.UnableError{Reason: why})
		}
		select {
		case err := <-done:
			return k.ended(ctx, err)
		case <-ctx.Done():
			return k.ended(ctx, <-done)
		case <-lasts:
			k.owning.Clear()
		case <-k.ableChanged:
		}
	}
}

// ended tells why ownership ended. The error of the holding counts only if nothing else
// has ended it.
func (k *campaign) ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil {
		if err == nil {
			err = errors.New("the holding ended by itself")
		}
		return err
	}
	k.Journal.Tell(ownerEnds, zap.NamedError("reason", cause))
	if _, denied := errors.AsType[deniedError](cause); denied {
		k.tell(vrrp.Backup, cause.Error())
	} else if !errors.Is(cause, election.ErrLeave) {
		k.tell(vrrp.Fault, cause.Error())
	}
	return nil
}
