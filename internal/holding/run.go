package holding

import (
	"context"
	"errors"
	"slices"
	"sync"

	"berth/guard"
	"berth/internal/journal"
	"berth/internal/reload"
	"berth/vrrp"
)

// run is one holding of an instance.
type run struct {
	*Holding
	instance string
	journal  *journal.Journal
	retained *journal.Condition // the addresses cannot be told, and stay as they were

	permitting *attempts       // at the guards behind the lock
	changed    <-chan struct{} // closed when wanted may be out of date
	// suspended is set while the status has addresses that are suspended.
	suspended bool

	mu     sync.Mutex
	wanted []vrrp.FloatingIP // as they could be told last; guarded by mu
}

// entry is the guard between the lock and the others: it lets the instance pass when
// its addresses can be told, and again when the others have returned although the
// instance is still MASTER.
type entry struct {
	*run
	locking *attempts
}

func (e entry) While(ctx context.Context, instance string, act guard.Act) error {
	e.locking.succeeded()
	asking := e.attempts(addressesUnknown, e.Passing)
	defer asking.end()
	for {
		e.changed = e.Changed()
		wanted, err := e.Addresses(instance)
		if err == nil {
			e.wanted = wanted
			break
		}
		if err := asking.failed(ctx, err); err != nil {
			return err
		}
	}
	asking.succeeded()
	if len(e.wanted) == 0 {
		e.journal.Tell(noAddresses)
	}
	for {
		err := act(ctx, guard.NewPermit(ctx))
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			err = errNoPermission
		}
		if err := e.permitting.failed(ctx, err); err != nil {
			return err
		}
	}
}

// errNoPermission stands for the error of a guard that has returned none.
var errNoPermission = errors.New("a guard has ended its permission")

// act runs the loops for as long as the guards give permission. After that it may be
// called again.
func (r *run) act(ctx context.Context, permit *guard.Permit, verify <-chan struct{}) error {
	r.permitting.succeeded()
	observed := func(wanted []vrrp.FloatingIP) []vrrp.FloatingIP { return wanted }
	var moved <-chan struct{}
	if r.Observe != nil {
		o := r.Observe(r.instance)
		defer func() {
			if errors.Is(context.Cause(ctx), reload.ErrReloaded) {
				o.Retain()
			}
			o.Close()
		}()
		observed, moved = o.Present, o.Changed()
	}
	select {
	case <-r.changed: // while a guard gave no permission
		_ = r.ask()
	default:
	}
	news := make(chan struct{}, 1)
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { r.follow(ctx, moved, news) })
	addresses := func() []vrrp.FloatingIP {
		r.mu.Lock()
		wanted := r.wanted
		r.mu.Unlock()
		list := observed(wanted)
		r.suspend(wanted, list)
		return list
	}
	return r.Loops.Run(ctx, r.instance, permit.Check, addresses, news, verify)
}

// follow sends to news, which has one slot, whenever there are other addresses to claim,
// until ctx ends.
func (r *run) follow(ctx context.Context, moved <-chan struct{}, news chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-moved:
		case <-r.changed:
			if !r.ask() {
				continue
			}
		}
		select {
		case news <- struct{}{}:
		default: // one change is told already
		}
	}
}

// ask asks for the addresses again and reports whether they could be told. Where they
// could not they stay as they were.
func (r *run) ask() bool {
	r.changed = r.Changed()
	wanted, err := r.Addresses(r.instance)
	if err != nil {
		r.retained.Fail(addressesRetained, err)
		return false
	}
	r.retained.Clear()
	r.mu.Lock()
	r.wanted = wanted
	r.mu.Unlock()
	return true
}

// suspend puts the addresses that are wanted and not claimed into the status.
func (r *run) suspend(wanted, claimed []vrrp.FloatingIP) {
	var suspended []string
	for _, ip := range wanted {
		if !slices.Contains(claimed, ip) {
			suspended = append(suspended, ip.String())
		}
	}
	if len(suspended) > 0 || r.suspended {
		r.Status.Suspended(r.instance, suspended)
	}
	r.suspended = len(suspended) > 0
}
