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
	latest  time.Time // and due to be removed then at the latest, whenever the kernel began to count
	excused bool      // if it is missing, that was to be expected
	// forgiven is when the kernel last took it away of its own accord: once in a while
	// it takes what was renewed while it looked for what has expired (check_lifetime
	// reads the clock before it waits for the lock that the renewal holds).
	forgiven time.Time

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
	if err := i.ask(&request{addrs: addrs, done: ctx.Done()}); err != nil {
		return err
	}
	if ctx.Err() == nil {
		bound()
	}
	<-ctx.Done()
	return i.ask(&request{addrs: addrs, cause: context.Cause(ctx)})
}

// bind binds or renews, and makes sure that what is bound goes in time. It returns
// what failed, and why.
func (i *Interface) bind(list []*binding) (failed map[*binding]error) {
	if err := i.clear(list); err != nil {
		return all(list, err)
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
		i.again = again
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
				continue // what was bound before still ends when it would have
			}
			b.until, b.latest, b.excused = now.Add(life), latest, false
			i.present[b.prefix.Addr()] = []address{{on: i.link.index, prefix: b.prefix, valid: life, seen: now}}
		}
		if len(failed) > 0 {
			if err := i.look(false); err != nil {
				i.log.Debug("cannot look at what was bound", zap.Error(err))
			}
		}
		// This process may have stood still between the clock and the kernel.
		if !tooLong(latest, i.o.End()) {
			return failed
		}
	}
	_, err := i.remove(addrs)
	return all(list, errors.Join(errTooLate, err))
}

// all says that all failed for one reason.
func all(list []*binding, err error) map[*binding]error {
	failed := make(map[*binding]error, len(list))
	for _, b := range list {
		failed[b] = err
	}
	return failed
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
	return i.kernel.unbind(i.link.index, wrong)
}

// remove removes addresses, whatever prefix length they have. They are gone when
// it returns nil; else left are those that are not known to be.
func (i *Interface) remove(addrs []netip.Prefix) (left []netip.Prefix, err error) {
	if len(addrs) == 0 {
		return nil, nil
	}
	gone := addrs // ours first, before anything is asked
	for range attempts {
		unbound, looked := i.kernel.unbind(i.link.index, gone), i.look(false)
		if left = addrs; looked == nil {
			left = i.seen(addrs...)
		}
		if err = errors.Join(unbound, looked); err == nil && len(left) == 0 {
			return nil, nil
		}
		if len(left) > 0 {
			gone = left
		}
	}
	return left, errors.Join(err, fmt.Errorf("remove %v from %s: still there", left, i.o.Name))
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
