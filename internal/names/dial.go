package names

import (
	"context"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// attemptDelay is how long one address has before the next is tried beside it
// (RFC 8305, section 5).
const attemptDelay = 250 * time.Millisecond

type unprovenKey struct{}

// Unproven returns a context for dials of connections in clear text that carry a
// secret: nothing proves that a former address still belongs to the server. Such a
// dial waits for the fresh look-up, and uses former addresses only when that has
// failed or run out of its [Budget]. An answer that is a few seconds old is fresh.
func Unproven(ctx context.Context) context.Context {
	return context.WithValue(ctx, unprovenKey{}, true)
}

// Dialer connects to hosts by name. It is safe for concurrent use.
type Dialer struct {
	Names *Resolver
	// Timeout bounds the attempt to connect to one address, without the look-up of the
	// name.
	Timeout time.Duration
	// Dial connects to an address and a port, as DialContext of a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// DialContext connects to host:port, as DialContext of a [net.Dialer]. The host is
// looked up each time; meanwhile the addresses of its last answer are tried, and those
// of the look-up as soon as they are there. Time in which the dial can only wait for
// the look-up is between DNSStart and DNSDone of the context's [httptrace.ClientTrace].
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return d.connect(ctx, network, a, port)
	}
	r := &race{Dialer: d, network: network, host: host, port: port, results: make(chan result)}
	return r.run(ctx)
}

func (d *Dialer) connect(ctx context.Context, network string, a netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	return d.Dial(ctx, network, net.JoinHostPort(a.String(), port))
}

// race is one dial: attempts to connect to the addresses of a host, of which the
// first to succeed wins.
type race struct {
	*Dialer
	network, host, port string

	results chan result
	running sync.WaitGroup
	queue   []netip.Addr // to be tried
	begun   []netip.Addr // tried, or being tried
	open    []netip.Addr // being tried
	failed  error        // the first that failed
}

type result struct {
	address netip.Addr
	conn    net.Conn
	err     error
}

func (r *race) run(ctx context.Context) (net.Conn, error) {
	attempts, cancel := context.WithCancel(ctx)
	defer r.running.Wait() // for the losers, which end with the context
	defer cancel()
	l := r.Names.ask(r.host)
	first, done := l.first, l.done
	if ctx.Value(unprovenKey{}) == nil || r.Names.fresh(r.host) {
		r.queue = r.Names.known(r.host)
	}
	next := time.NewTimer(attemptDelay)
	defer next.Stop()
	begin := func() {
		if len(r.queue) > 0 {
			r.begin(attempts)
			next.Reset(attemptDelay)
		}
	}
	waiting := &wait{host: r.host, trace: httptrace.ContextClientTrace(ctx)}
	defer waiting.end(l)
	for {
		if len(r.open) == 0 {
			begin()
		}
		switch {
		case len(r.open) > 0:
			waiting.end(l)
		case done == nil:
			return nil, r.unreachable(l)
		default:
			waiting.begin()
		}
		select {
		case <-ctx.Done():
			if waiting.on {
				r.Names.leave(r.host, l)
			}
			return nil, r.ended(ctx)
		case <-next.C:
			begin()
		case <-first:
			first = nil
			if r.add(r.Names.got(r.host, l)) {
				begin()
			}
		case <-done:
			first, done = nil, nil
			// If the look-up failed, these are the former addresses.
			if r.add(r.Names.known(r.host)) {
				begin()
			}
		case a := <-r.results:
			r.open = slices.DeleteFunc(r.open, func(o netip.Addr) bool { return o == a.address })
			if a.err == nil {
				r.Names.tried(r.host, a.address, true)
				return a.conn, nil
			}
			if r.failed == nil {
				r.failed = a.err
			}
			begin()
		}
	}
}

// add puts addresses in front of those still to be tried, and reports whether one
// of them should be tried at once: only others are being tried.
func (r *race) add(addresses []netip.Addr) (others bool) {
	others = true
	var queue []netip.Addr
	for _, a := range addresses {
		if !slices.Contains(r.begun, a) {
			queue = append(queue, a)
		}
		others = others && !slices.Contains(r.open, a)
	}
	for _, a := range r.queue {
		if !slices.Contains(queue, a) {
			queue = append(queue, a)
		}
	}
	r.queue = queue
	return others
}

// begin tries the next address.
func (r *race) begin(ctx context.Context) {
	a := r.queue[0]
	r.queue, r.begun = r.queue[1:], append(r.begun, a)
	r.open = append(r.open, a)
	r.Names.tried(r.host, a, false)
	r.running.Go(func() {
		conn, err := r.connect(ctx, r.network, a, r.port)
		select {
		case r.results <- result{a, conn, err}:
		case <-ctx.Done():
			if err == nil {
				conn.Close()
			}
		}
	})
}

// unreachable returns the error for a host none of whose addresses can be connected to.
func (r *race) unreachable(l *lookup) error {
	switch {
	case r.failed == nil:
		return fmt.Errorf("look up %s: %w", r.host, l.err)
	case l.err != nil:
		return fmt.Errorf("%w; look up %s: %w", r.failed, r.host, l.err)
	case len(r.begun) > 1:
		return fmt.Errorf("%w (the first of %d addresses of %s)", r.failed, len(r.begun), r.host)
	}
	return r.failed
}

// ended returns the error for a dial whose context has ended.
func (r *race) ended(ctx context.Context) error {
	switch {
	case r.failed != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), r.failed)
	case len(r.begun) == 0:
		return fmt.Errorf("look up %s: no answer yet: %w", r.host, context.Cause(ctx))
	}
	return fmt.Errorf("connect to %s: %w", r.host, context.Cause(ctx))
}

// wait tells a trace of the time in which a dial can do nothing but wait for a
// look-up.
type wait struct {
	host  string
	trace *httptrace.ClientTrace
	on    bool
}

func (w *wait) begin() {
	if w.on {
		return
	}
	w.on = true
	if w.trace != nil && w.trace.DNSStart != nil {
		w.trace.DNSStart(httptrace.DNSStartInfo{Host: w.host})
	}
}

func (w *wait) end(l *lookup) {
	if !w.on {
		return
	}
	w.on = false
	if w.trace == nil || w.trace.DNSDone == nil {
		return
	}
	var info httptrace.DNSDoneInfo
	select {
	case <-l.done:
		info.Err = l.err
	default:
	}
	w.trace.DNSDone(info)
}
