package holding

import (
	"context"

	"berth/guard"
	"berth/internal/journal"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Holding is what is done for any instance that is MASTER. One value serves all
// instances; none of its fields is changed after the first Run.
type Holding struct {
	// Lock is the guard that is asked first, before the addresses of the instance are:
	// it ends the process of the former state, whatever becomes of this one.
	Lock guard.Guard
	// Guard is what else must give permission. An instance whose addresses are not known
	// does not come to it: it would keep another host from acting, and not act itself.
	// A Guard that returns while the instance is MASTER is told and asked again, under
	// the same lock.
	Guard guard.Guard
	// Addresses returns the addresses of an instance. An error says that they cannot be
	// told now.
	Addresses func(instance string) ([]vrrp.FloatingIP, error)
	// Changed returns a channel that is closed when the addresses may have changed. It
	// is called before Addresses.
	Changed func() <-chan struct{}
	// Passing, which may be nil, reports whether an error of Addresses may pass by
	// itself, although Impatient is set.
	Passing func(err error) bool
	// Observe begins to observe the addresses of an instance on this host. It is nil
	// where only events count.
	Observe func(instance string) Observation
	Loops   Loops
	// Retry spaces the attempts to lock the instance, to tell its addresses and to get
	// the permission of Guard.
	Retry refresher.Policy
	// Impatient makes Run return the error of the lock, of Addresses or of Guard,
	// instead of trying again: a notify script tells it by its exit status, and a person
	// has to mend it.
	Impatient bool
	// Status takes what has no loop.
	Status  Status
	Journal *journal.Journal // must not be nil
}

// Status takes what a holding knows about an instance; *status.Board does. Its methods
// must not block.
type Status interface {
	// Blocked takes why the holding has not come to the addresses, "" when it has.
	Blocked(instance, reason string)
	// Suspended takes the addresses that are not claimed because they are not on this
	// host.
	Suspended(instance string, addresses []string)
}

// Observation tells which addresses of an instance are on this host, as
// *presence.Watch does. Its methods must not block.
type Observation interface {
	// Present makes these the addresses that are observed, and returns those that are to
	// be claimed.
	Present(wanted []vrrp.FloatingIP) []vrrp.FloatingIP
	// Changed receives after what Present returns has changed.
	Changed() <-chan struct{}
	// Retain keeps what was observed for the next Observation of the instance. Close is
	// called all the same.
	Retain()
	// Close ends the observation.
	Close()
}

// Run holds an instance until ctx ends, and returns the cause after all loops have ended
// and all guards have given up what they had. Each value from verify has the loops
// observe the owner. It is an instance.Hold, unless it is Impatient.
func (h *Holding) Run(ctx context.Context, instance string, verify <-chan struct{}) error {
	r := &run{Holding: h, instance: instance, journal: h.Journal.With(zap.String("instance", instance))}
	r.retained = r.journal.Condition()
	defer r.retained.Clear()
	locking := r.attempts(notLocked, nil)
	defer locking.end()
	r.permitting = r.attempts(notPermitted, nil)
	defer r.permitting.end()
	chain := guard.Chain(h.Lock, entry{r, locking}, h.Guard)
	for {
		err := chain.While(ctx, instance, func(ctx context.Context, p *guard.Permit) error {
			return r.act(ctx, p, verify)
		})
		if ctx.Err() != nil {
			return err
		}
		if err := locking.failed(ctx, err); err != nil {
			return err
		}
	}
}
