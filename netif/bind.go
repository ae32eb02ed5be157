package netif

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

// attempts bounds how often a system call is repeated that must succeed, or
// whose result came too late.
const attempts = 3

// errTooLate says that an address would be removed within a second.
var errTooLate = errors.New("what is left of the lease is too short")

// binding is one address of a call of Bind.
type binding struct {
	prefix netip.Prefix
	done   <-chan struct{} // closed when the call is to end

	bound  bool      // it has been there
	failed bool      // the last attempt to bind it again or to renew it
	until  time.Time // the kernel does not remove it before; zero if that is not known
	latest time.Time // and intends to remove it by then, whenever it began to count
	// absenceExpected is set when the address may be missing for a known reason.
	absenceExpected bool
	// expiredEarly is when the kernel last removed it by itself: once in a while it
	// removes what was renewed while it searched for expired addresses (check_lifetime
	// reads the clock before it waits for the lock that the renewal holds).
	expiredEarly time.Time

	sent int       // announcements in this series
	next time.Time // when the next is due; zero for never

	claimant net.HardwareAddr // of a host that claims the address, until it is defended
}

func (b *binding) ended() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// Bind binds the addresses, calls bound once they are all there, keeps them there
// while End allows it until ctx ends, then removes them and returns ctx's cause,
// joined by an error if one could not be removed. With a cause that matches
// ErrLeave it leaves them. It returns at once, with none of them bound, if they
// cannot be bound now. Several calls may run at the same time, each with other
// addresses, and need Run. The first announcement precedes the call of bound.
func (i *Interface) Bind(ctx context.Context, addrs []netip.Prefix, bound func()) error {
	if err := i.submit(&request{addrs: addrs, done: ctx.Done()}); err != nil {
		return err
	}
	if ctx.Err() == nil {
		bound()
	}
	<-ctx.Done()
	return i.submit(&request{addrs: addrs, cause: context.Cause(ctx)})
}

// bindOrRenew gives addresses the longest lifetime that ends in time, but for those that
// the interface is unfit for. It returns the failures.
func (i *Interface) bindOrRenew(list []*binding) (failed map[*binding]error) {
	if len(i.unfit) == 0 {
		return i.bindOrRenewFit(list)
	}
	unfit := map[*binding]error{}
	list = slices.DeleteFunc(slices.Clone(list), func(b *binding) bool {
		a := b.prefix.Addr()
		if i.unfit[a] == nil {
			return false
		}
		if err := i.kernel.promotes(i.link.name, b.prefix); err != nil {
			unfit[b] = err
			return true
		}
		delete(i.unfit, a)
		return false
	})
	failed = i.bindOrRenewFit(list)
	maps.Copy(unfit, failed)
	return unfit
}

// bindOrRenewFit gives addresses the longest lifetime that ends in time, and removes them
// again if that took too long. It returns the failures.
func (i *Interface) bindOrRenewFit(list []*binding) (failed map[*binding]error) {
	if len(list) == 0 {
		return nil
	}
	if err := i.clear(list); err != nil {
		return all(list, err)
	}
	addrs := make([]netip.Prefix, len(list))
	for n, b := range list {
		addrs[n] = b.prefix
	}
	for range attempts {
		now := time.Now()
		seconds, renewAt := lifetime(i.o.End(), now)
		if seconds < 1 {
			break
		}
		life := time.Duration(seconds) * time.Second
		i.renewAt = renewAt
		failed = nil
		answers := i.kernel.bind(i.link, addrs, seconds)
		latest := time.Now().Add(life)
		for n, err := range answers {
			b := list[n]
			if err != nil {
				if failed == nil {
					failed = map[*binding]error{}
				}
				failed[b] = err
				continue // the lifetime that it had before goes on
			}
			b.until, b.latest, b.absenceExpected = now.Add(life), latest, false
			i.present[b.prefix.Addr()] = []address{{on: i.link.index, prefix: b.prefix, valid: life, seen: now}}
		}
		if len(failed) > 0 {
			if err := i.observe(false); err != nil {
				i.journal.Debug("cannot read which addresses were bound", zap.Error(err))
			}
		}
		// This process may have been stopped between the clock and the kernel.
		if !tooLong(latest, i.o.End()) {
			return failed
		}
	}
	_, err := i.remove(addrs)
	return all(list, errors.Join(errTooLate, err))
}

// all returns the same failure for all bindings.
func all(list []*binding, err error) map[*binding]error {
	failed := make(map[*binding]error, len(list))
	for _, b := range list {
		failed[b] = err
	}
	return failed
}

// tooLong reports whether an address that expires then may outlive the end.
func tooLong(until, end time.Time) bool { return until.After(end.Add(overshoot - removalDelay)) }

// clear removes what cannot be renewed: an address with another prefix length, or one
// that duplicate address detection found on another host.
func (i *Interface) clear(list []*binding) error {
	var wrong []netip.Prefix
	for _, b := range list {
		for _, a := range i.present[b.prefix.Addr()] {
			if a.prefix != b.prefix || a.duplicate {
				wrong = append(wrong, a.prefix)
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return i.kernel.unbind(i.link.index, wrong)
}

// remove removes addresses, whatever prefix length they have. They are gone when
// it returns nil; otherwise it returns those that may remain.
func (i *Interface) remove(addrs []netip.Prefix) (remaining []netip.Prefix, err error) {
	if len(addrs) == 0 {
		return nil, nil
	}
	next := addrs // removed first, before anything is read
	for range attempts {
		unbound, observed := i.kernel.unbind(i.link.index, next), i.observe(false)
		if remaining = addrs; observed == nil {
			remaining = i.found(addrs...)
		}
		if err = errors.Join(unbound, observed); err == nil && len(remaining) == 0 {
			return nil, nil
		}
		if len(remaining) > 0 {
			next = remaining
		}
	}
	return remaining, errors.Join(err, fmt.Errorf("remove %v from %s: still there", remaining, i.o.Name))
}

// probe sends a probe for an address. The answer of a host that has it arrives as a
// claim.
func (i *Interface) probe(a netip.Addr) {
	if i.link.mac == nil || !i.link.ready() {
		return
	}
	frame, err := arpProbe(a, i.link.mac), error(nil)
	if a.Is6() {
		frame, err = ndpProbe(a, i.link.mac)
	}
	if err == nil {
		err = i.kernel.send(frame)
	}
	if err != nil {
		i.journal.Debug("cannot probe whether another host has the address", zap.Stringer("address", a), zap.Error(err))
	}
}
