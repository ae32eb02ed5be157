package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// portion is how many addresses are bound or unbound at once: few enough that the
// instances whose addresses are gone are given up while those of others still go, and
// that renewals need not wait.
const portion = 200

// request is what a Hold that begins, or ends, wants of the kernel.
type request struct {
	addrs []netip.Prefix
	done  <-chan struct{} // of a Hold that begins: closed when it is to end
	cause error           // of the end of one; nil while it begins

	bindings []*binding
	served   chan struct{} // closed when err is there
	err      error
}

// ask has a request served, together with others that wait by then: hundreds of Holds
// begin and end at once, and cost a look at the kernel's addresses for many.
func (i *Interface) ask(r *request) error {
	r.served = make(chan struct{})
	i.wanted.Lock()
	i.wanted.requests = append(i.wanted.requests, r)
	i.wanted.Unlock()
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

// next takes the requests of one portion, the oldest first.
func (i *Interface) next() []*request {
	i.wanted.Lock()
	defer i.wanted.Unlock()
	n, addresses := 0, 0
	for _, r := range i.wanted.requests {
		if addresses += len(r.addrs); n > 0 && addresses > portion {
			break
		}
		n++
	}
	list := slices.Clone(i.wanted.requests[:n])
	i.wanted.requests = slices.Delete(i.wanted.requests, 0, n)
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
	i.take(begin)
	i.due = time.Time{} // renewals and announcements are due at other times now
	i.wakeUp()
}

// take begins Holds.
func (i *Interface) take(list []*request) {
	follow := len(i.held) == 0
	list = slices.DeleteFunc(list, func(r *request) bool { return !i.admit(r) })
	if len(list) == 0 {
		return
	}
	if err := i.look(follow); err != nil {
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

// admit reports whether a Hold can begin, and makes its addresses held, so that the
// answer to a probe finds them so.
func (i *Interface) admit(r *request) bool {
	select {
	case <-r.done:
		return false // what is there is released
	default:
	}
	for _, p := range r.addrs {
		if i.managed[p.Addr()] != p {
			r.err = fmt.Errorf("bind %v to %s: it is not among the managed addresses", p, i.o.Name)
		} else if i.held[p.Addr()] != nil {
			r.err = fmt.Errorf("bind %v to %s: it is held already", p, i.o.Name)
		}
		if r.err != nil {
			i.drop(r)
			return false
		}
		b := &binding{prefix: p, done: r.done}
		r.bindings = append(r.bindings, b)
		i.held[p.Addr()] = b
	}
	return true
}

// drop ends what admit began.
func (i *Interface) drop(r *request) {
	for _, b := range r.bindings {
		delete(i.held, b.prefix.Addr())
	}
}

// begin binds and announces the addresses of Holds. It returns those that failed.
func (i *Interface) begin(list []*request) (failed []*request) {
	var bindings []*binding
	for _, r := range list {
		bindings = append(bindings, r.bindings...)
	}
	problems := i.bind(bindings)
	var bound []netip.Prefix
	for _, r := range list {
		for _, b := range r.bindings {
			if err := problems[b]; err != nil {
				r.err = errors.Join(r.err, fmt.Errorf("bind %v to %s: %w", b.prefix, i.o.Name, err))
			}
		}
		if r.err != nil {
			i.drop(r)
			failed = append(failed, r)
			continue
		}
		bound = append(bound, r.addrs...)
		now := time.Now()
		for _, b := range r.bindings {
			a := b.prefix.Addr()
			b.bound = true
			delete(i.left, a)
			i.o.Metrics.setBound(a, true)
			b.announceAgain(now)
			i.announce(b, now)
		}
	}
	if len(bound) > 0 {
		i.record.add(bound, i.log)
	}
	return failed
}

// undo removes what was bound of Holds that failed.
func (i *Interface) undo(failed []*request) {
	var addrs []netip.Prefix
	for _, r := range failed {
		addrs = append(addrs, r.addrs...)
	}
	left, err := i.remove(addrs)
	for _, r := range failed {
		if r.among(left) {
			r.err = errors.Join(r.err, err)
		}
	}
}

// release ends Holds.
func (i *Interface) release(list []*request) {
	var addrs []netip.Prefix
	for _, r := range list {
		leave := errors.Is(r.cause, ErrLeave)
		for _, p := range r.addrs {
			delete(i.held, p.Addr())
			i.o.Metrics.setBound(p.Addr(), false)
			if leave {
				i.left[p.Addr()] = true
			}
		}
		if !leave {
			addrs = append(addrs, r.addrs...)
		}
	}
	left, err := i.remove(addrs)
	for _, r := range list {
		if r.err = r.cause; r.among(left) {
			r.err = errors.Join(r.cause, err)
		}
	}
	i.record.remove(slices.DeleteFunc(addrs, func(p netip.Prefix) bool {
		return slices.ContainsFunc(left, func(l netip.Prefix) bool { return l.Addr() == p.Addr() })
	}), i.log)
}

// among reports whether an address of the request is in a list.
func (r *request) among(list []netip.Prefix) bool {
	return slices.ContainsFunc(list, func(l netip.Prefix) bool {
		return slices.ContainsFunc(r.addrs, func(p netip.Prefix) bool { return l.Addr() == p.Addr() })
	})
}
