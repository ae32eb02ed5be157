package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// attempts bounds how often a system call is repeated that must succeed, or
// whose result came too late.
const attempts = 3

// errTooLate says that an address would be gone within a second.
var errTooLate = errors.New("what is left of the lease is too short")

// binding is one address of a Hold.
type binding struct {
	prefix netip.Prefix
	done   <-chan struct{} // closed when the Hold is to end

	bound   bool      // it has been there
	until   time.Time // not removed by the kernel before this; zero if nothing is known
	excused bool      // if it is missing, that was to be expected

	sent int       // announcements in this series
	next time.Time // when the next is due; zero for never

	claimant net.HardwareAddr // who claims it too and is owed an answer
}

func (b *binding) ended() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// Hold binds the addresses, calls bound once they are all there, keeps them there
// while End allows it until ctx ends, then removes them and returns ctx's cause,
// joined by an error if one could not be removed. With a cause that matches
// ErrLeave it leaves them. It returns at once, with none of them bound, if they
// cannot be bound now. Holds run side by side, each with other addresses, and
// need Run. The first announcement precedes the call of bound.
func (i *Interface) Hold(ctx context.Context, addrs []netip.Prefix, bound func()) error {
	if err := i.take(ctx, addrs); err != nil {
		return err
	}
	if ctx.Err() == nil {
		i.wakeUp() // renewals and more announcements will be due
		bound()
	}
	<-ctx.Done()
	return i.release(context.Cause(ctx), addrs)
}

func (i *Interface) take(ctx context.Context, addrs []netip.Prefix) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	var list []*binding
	for _, p := range addrs {
		if i.managed[p.Addr()] != p {
			return fmt.Errorf("bind %v to %s: it is not among the managed addresses", p, i.o.Name)
		}
		if i.held[p.Addr()] != nil {
			return fmt.Errorf("bind %v to %s: it is held already", p, i.o.Name)
		}
		list = append(list, &binding{prefix: p, done: ctx.Done()})
	}
	if ctx.Err() != nil {
		return nil // what is there is released
	}
	if err := i.look(); err != nil {
		return err
	}
	for _, b := range list {
		i.held[b.prefix.Addr()] = b // before the probe is answered
		delete(i.left, b.prefix.Addr())
		i.probe(b.prefix.Addr())
	}
	if err := i.bind(list); err != nil {
		for _, b := range list {
			delete(i.held, b.prefix.Addr())
		}
		return errors.Join(err, i.remove(addrs))
	}
	now := time.Now()
	for _, b := range list {
		b.bound = true
		i.o.Metrics.setBound(b.prefix.Addr(), true)
		b.announceAgain(now)
		i.announce(b, now)
	}
	i.record.add(addrs, i.log)
	return nil
}

// release ends the Hold of addresses.
func (i *Interface) release(cause error, addrs []netip.Prefix) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range addrs {
		delete(i.held, p.Addr())
		i.o.Metrics.setBound(p.Addr(), false)
		if errors.Is(cause, ErrLeave) {
			i.left[p.Addr()] = true
		}
	}
	if errors.Is(cause, ErrLeave) {
		return cause
	}
	if err := i.remove(addrs); err != nil {
		return errors.Join(cause, err)
	}
	i.record.remove(addrs, i.log)
	return cause
}

// bind binds or renews, and makes sure that what is bound goes in time.
func (i *Interface) bind(list []*binding) error {
	if err := i.clear(list); err != nil {
		return err
	}
	addrs := make([]netip.Prefix, len(list))
	for n, b := range list {
		addrs[n] = b.prefix
	}
	for range attempts {
		now := time.Now()
		seconds, again := lifetime(i.o.End(), now)
		if seconds < 1 {
			break
		}
		life := time.Duration(seconds) * time.Second
		for _, b := range list {
			b.until, b.excused = now.Add(life), false
			i.present[b.prefix.Addr()] = []address{{prefix: b.prefix, valid: life}}
		}
		i.again = again
		if err := i.kernel.bind(addrs, seconds); err != nil {
			return errors.Join(err, i.look())
		}
		// This process may have stood still between the clock and the kernel.
		if !tooLong(time.Now().Add(life), i.o.End()) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("bind %v to %s: %w", addrs, i.o.Name, errTooLate), i.remove(addrs))
}

// tooLong reports whether an address that lives until then may outlive the end.
func tooLong(until, end time.Time) bool { return until.After(end.Add(slack - margin)) }

// clear makes room for addresses: with another prefix length, or found to be
// duplicate, what is there would not do.
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
	return i.kernel.unbind(wrong)
}

// remove removes addresses, whatever prefix length they have. They are gone when
// it returns nil.
func (i *Interface) remove(addrs []netip.Prefix) error {
	gone := addrs // ours first, before anything is asked
	var err error
	for range attempts {
		err = errors.Join(i.kernel.unbind(gone), i.look())
		if gone = i.seen(addrs...); err == nil && len(gone) == 0 {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("remove %v from %s: still there", gone, i.o.Name))
}

// seen returns what is there under addresses.
func (i *Interface) seen(addrs ...netip.Prefix) (list []netip.Prefix) {
	for _, p := range addrs {
		for _, a := range i.present[p.Addr()] {
			list = append(list, a.prefix)
		}
	}
	return list
}

// probe asks the neighbours whether one has the address. Their answer comes to
// Run as a claim.
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
		i.log.Debug("cannot ask whether another machine has the address", zap.Stringer("address", a), zap.Error(err))
	}
}
