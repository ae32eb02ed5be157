package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// batchSize is how many addresses are bound or removed at once: few enough that the
// instances whose addresses are gone are given up while those of others are still being
// removed, and that renewals need not wait.
const batchSize = 200

// request is the begin, or the end, of a call of Bind.
type request struct {
	addrs []netip.Prefix
	done  <-chan struct{} // of a begin: closed when the call is to end
	cause error           // of an end; nil for a begin

	bindings []*binding
	served   chan struct{} // closed when err is set
	err      error
}

// submit has a request served, together with others that wait by then: hundreds of calls
// begin and end at once, and need only one reading of the kernel's addresses for many.
func (i *Interface) submit(r *request) error {
	r.served = make(chan struct{})
	i.waiting.Lock()
	i.waiting.requests = append(i.waiting.requests, r)
	i.waiting.Unlock()
	for {
		select {
		case <-r.served:
			return r.err
		case i.serving <- struct{}{}: // one serves for all
			i.serve()
			<-i.serving
		}
	}
}

// next takes the requests of one batch, the oldest first.
func (i *Interface) next() []*request {
	i.waiting.Lock()
	defer i.waiting.Unlock()
	n := leading(i.waiting.requests, batchSize)
	list := slices.Clone(i.waiting.requests[:n])
	i.waiting.requests = slices.Delete(i.waiting.requests, 0, n)
	return list
}

func (i *Interface) serve() {
	i.mu.Lock()
	defer i.mu.Unlock()
	var begin, end []*request
	for _, r := range i.next() {
		defer close(r.served)
		if r.cause == nil {
			begin = append(begin, r)
		} else {
			end = append(end, r)
		}
	}
	i.release(end)
	i.settle()
	i.beginAll(begin)
	i.reconcileAt = time.Time{} // renewals and announcements are due at other times now
	i.wakeUp()
}

// beginAll serves requests to begin.
func (i *Interface) beginAll(list []*request) {
	follow := len(i.bindings) == 0
	list = slices.DeleteFunc(list, func(r *request) bool { return !i.admit(r) })
	if len(list) == 0 {
		return
	}
	if err := i.observe(follow); err != nil {
		for _, r := range list {
			r.err = err
			i.drop(r)
		}
		return
	}
	for _, r := range list {
		for _, p := range r.addrs {
			i.probe(p.Addr())
		}
	}
	i.undo(i.begin(list))
}

// admit reports whether a request can be served, and makes its bindings, so that the
// answer to a probe finds them.
func (i *Interface) admit(r *request) bool {
	select {
	case <-r.done:
		return false // the request to end follows, and removes what is there
	default:
	}
	for _, p := range r.addrs {
		if i.allManaged()[p.Addr()] != p {
			r.err = fmt.Errorf("bind %v to %s: it is not among the managed addresses", p, i.o.Name)
		} else if i.bindings[p.Addr()] != nil {
			r.err = fmt.Errorf("bind %v to %s: it is bound already", p, i.o.Name)
		}
		if r.err != nil {
			i.drop(r)
			return false
		}
		b := &binding{prefix: p, done: r.done}
		r.bindings = append(r.bindings, b)
		i.bindings[p.Addr()] = b
	}
	return true
}

// drop undoes admit.
func (i *Interface) drop(r *request) {
	for _, b := range r.bindings {
		delete(i.bindings, b.prefix.Addr())
	}
}

// beginSize is how many addresses are bound before the first of them is announced: it
// must not wait for hundreds of others. Larger calls of Bind are not divided.
const beginSize = 20

// begin binds and announces the addresses of requests. It returns those that failed.
func (i *Interface) begin(list []*request) (failed []*request) {
	var bound []netip.Prefix
	for len(list) > 0 {
		n := leading(list, beginSize)
		failed = append(failed, i.beginTogether(list[:n])...)
		for _, r := range list[:n] {
			if r.err == nil {
				bound = append(bound, r.addrs...)
			}
		}
		list = list[n:]
	}
	if len(bound) > 0 {
		i.record.add(bound)
	}
	return failed
}

// leading returns how many requests have so many addresses at most, but 1 at least.
func leading(list []*request, most int) int {
	addresses := 0
	for n, r := range list {
		if addresses += len(r.addrs); n > 0 && addresses > most {
			return n
		}
	}
	return len(list)
}

// beginTogether binds the addresses of requests, and then announces them. It returns the
// requests that failed.
func (i *Interface) beginTogether(list []*request) (failed []*request) {
	var bindings []*binding
	for _, r := range list {
		bindings = append(bindings, r.bindings...)
	}
	failures := i.bindOrRenew(bindings)
	for _, r := range list {
		for _, b := range r.bindings {
			if err := failures[b]; err != nil {
				r.err = errors.Join(r.err, fmt.Errorf("bind %v to %s: %w", b.prefix, i.o.Name, err))
			}
		}
		if r.err != nil {
			i.drop(r)
			failed = append(failed, r)
			continue
		}
		now := time.Now()
		for _, b := range r.bindings {
			a := b.prefix.Addr()
			b.bound = true
			delete(i.handedOver, a)
			i.o.Metrics.setBound(a, true)
			b.announceAnew(now)
			i.announce(b, now)
		}
	}
	return failed
}

// undo removes what was bound for requests that failed.
func (i *Interface) undo(failed []*request) {
	var addrs []netip.Prefix
	for _, r := range failed {
		addrs = append(addrs, r.addrs...)
	}
	remaining, err := i.remove(addrs)
	for _, r := range failed {
		if r.among(remaining) {
			r.err = errors.Join(r.err, err)
		}
	}
}

// release serves requests to end.
func (i *Interface) release(list []*request) {
	var addrs []netip.Prefix
	for _, r := range list {
		leave := errors.Is(r.cause, ErrLeave)
		for _, p := range r.addrs {
			delete(i.bindings, p.Addr())
			i.o.Metrics.setBound(p.Addr(), false)
			if leave {
				i.handedOver[p.Addr()] = true
			}
		}
		if !leave {
			addrs = append(addrs, r.addrs...)
		}
	}
	remaining, err := i.remove(addrs)
	for _, r := range list {
		if r.err = r.cause; r.among(remaining) {
			r.err = errors.Join(r.cause, err)
		}
	}
	i.record.remove(slices.DeleteFunc(addrs, func(p netip.Prefix) bool {
		return slices.ContainsFunc(remaining, func(l netip.Prefix) bool { return l.Addr() == p.Addr() })
	}))
}

// among reports whether an address of the request is in a list.
func (r *request) among(list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(l netip.Prefix) bool {
		return slices.ContainsFunc(r.addrs, func(p netip.Prefix) bool { return l.Addr() == p.Addr() })
	})
}
