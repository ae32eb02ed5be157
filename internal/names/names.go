// Package names turns host names into addresses, for connections that a takeover
// waits for.
//
// A resolver that does not answer must not cut berth off from a server whose address
// was known a minute ago. So the last good answer for each name is stored, in memory
// and in a file of the run directory, and a [Dialer] connects to its addresses at
// once, while a fresh look-up runs beside the attempt. A look-up has a time limit of
// its own, [Budget], and outlives the connection attempt that asked for it, so that
// the next attempt finds its answer. All addresses of a name are tried, of both
// families, one shortly after the other (RFC 8305).
//
// The package refuses to decide whether the server that was reached is the right
// one. The certificate of a TLS server proves that; a connection in clear text proves
// nothing, and [Unproven] makes a dial wait for the fresh look-up.
package names

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/internal/journal"
	"berth/internal/rundir"
)

const (
	// Budget bounds one look-up. The resolver of Go, as that of libc, asks each
	// name server for 5 s before it asks the next (resolv.conf(5)), so two servers
	// that do not answer leave time for the third.
	Budget = 15 * time.Second

	// resolutionDelay is how long the IPv6 addresses are waited for when the IPv4
	// addresses are there (RFC 8305, section 3).
	resolutionDelay = 50 * time.Millisecond

	// freshness is for how long an answer counts as fresh: the next connection need
	// not wait for another one. Where a dial gave up before the look-up ended, missed
	// is how long the outcome of the look-up counts, good or bad: attempts that are
	// shorter than a look-up would never see the end of one.
	freshness = 5 * time.Second
	missed    = 30 * time.Second

	maxAddresses = 16 // of a name and a family; the rest is left out
)

// Causes with which look-ups end.
var (
	errBudget = fmt.Errorf("no answer of any name server within %v", Budget)
	errClosed = errors.New("berth is ending")
)

// networks are the families, as LookupNetIP of [net.Resolver] calls them, in the
// order in which RFC 8305 prefers them.
var networks = [2]string{"ip6", "ip4"}

// families has the addresses of a name, by the index of networks.
type families [2][]netip.Addr

func (f families) empty() bool { return len(f[0])+len(f[1]) == 0 }

// mixed returns all addresses, those of the two families taking turns (RFC 8305,
// section 4).
func (f families) mixed() []netip.Addr {
	var all []netip.Addr
	for i := range max(len(f[0]), len(f[1])) {
		for _, family := range f {
			if i < len(family) {
				all = append(all, family[i])
			}
		}
	}
	return all
}

// Resolver looks up names and stores their last good answers. It is safe for
// concurrent use. Close must be called.
type Resolver struct {
	// Lookup is LookupNetIP of a [net.Resolver], and may be replaced before the
	// first use; network is ip4 or ip6.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	journal *journal.Journal
	store   *store // nil: nothing is stored on disk
	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // look-ups

	mu     sync.Mutex // guards all below
	closed bool
	loaded bool
	hosts  map[string]*host
}

// host is what is known of a name.
type host struct {
	known families // the last good answers, empty if there was none
	// rank orders the addresses: first the address of the last connection, then those
	// that were never tried, then the others, the one tried last at the end. So
	// addresses that do not answer cannot use up the time of each attempt.
	rank    map[netip.Addr]int64
	asking  *lookup            // in progress, nil if none
	failing *journal.Condition // the look-up failed the last time
	fresh   time.Time          // until when no look-up is waited for
}

// lookup is one look-up, for all dials that wait for it.
type lookup struct {
	first chan struct{} // closed when there is an address, or at the end
	done  chan struct{} // closed when both families were answered, or cannot be
	got   families      // guarded by the Resolver's mu
	err   error         // set before done is closed; nil if got has an address
	left  bool          // a dial has given up waiting; guarded by the Resolver's mu
}

// New returns a Resolver that stores answers in a file of the directory dir, or not
// on disk if dir is "". It asks the name servers of resolv.conf(5) with the resolver
// of Go, whether cgo is there or not. j may be nil.
func New(dir string, j *journal.Journal) *Resolver {
	r := &Resolver{Lookup: (&net.Resolver{PreferGo: true}).LookupNetIP, journal: cmp.Or(j, journal.New(nil)), hosts: map[string]*host{}}
	if dir != "" {
		r.store = newStore(rundir.Dir(dir).Names(), r.journal)
	}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	return r
}

// Close ends all look-ups and waits for their end. Further ones fail.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel(errClosed)
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hosts {
		h.failing.Drop()
	}
}

// Ask begins a look-up, so that its answer is there when it is needed, and does not
// wait for it. An IP address needs none.
func (r *Resolver) Ask(name string) {
	if _, err := netip.ParseAddr(name); err != nil && name != "" {
		r.ask(name)
	}
}

// Await begins a look-up and waits until there is an address to connect to, also a
// former one, or until the look-up has failed. Dialling tells why.
func (r *Resolver) Await(ctx context.Context, name string) {
	if _, err := netip.ParseAddr(name); err == nil {
		return
	}
	l := r.ask(name)
	if len(r.known(name)) > 0 {
		return
	}
	select {
	case <-l.first:
	case <-ctx.Done():
	}
}

// host returns what is known of a name. It is called with mu held.
func (r *Resolver) host(name string) *host {
	if !r.loaded {
		r.loaded = true
		for name, addresses := range r.store.load() {
			h := r.newHost(name)
			for _, a := range addresses {
				h.known.add(a)
			}
			r.hosts[name] = h
		}
	}
	key := strings.ToLower(name)
	h := r.hosts[key]
	if h == nil {
		h = r.newHost(key)
		r.hosts[key] = h
	}
	return h
}

func (r *Resolver) newHost(name string) *host {
	return &host{failing: r.journal.With(zap.String("host", name)).Condition()}
}

func (f *families) add(a netip.Addr) {
	family := 0
	if a.Is4() {
		family = 1
	}
	if len(f[family]) < maxAddresses && !slices.Contains(f[family], a) {
		f[family] = append(f[family], a)
	}
}

// ask joins the look-up of a name that is in progress, or begins one.
func (r *Resolver) ask(name string) *lookup {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.host(name)
	if h.asking != nil {
		return h.asking
	}
	l := &lookup{first: make(chan struct{}), done: make(chan struct{})}
	if r.closed {
		l.err = errClosed
		close(l.first)
		close(l.done)
		return l
	}
	h.asking = l
	r.running.Go(func() { r.run(name, h, l) })
	return l
}

// known returns the last good answers for a name, in the order in which to try
// them.
func (r *Resolver) known(name string) []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.host(name)
	return h.order(h.known)
}

// leave notes that a dial gives up waiting for a look-up.
func (r *Resolver) leave(name string, l *lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.left = true
	select {
	case <-l.done: // just now
		r.host(name).fresh = time.Now().Add(missed)
	default:
	}
}

// fresh reports whether a look-up has ended so short a time ago that a dial need not
// wait for another one.
func (r *Resolver) fresh(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.host(name).fresh)
}

// got returns what a look-up has found so far, in the order in which to try it.
func (r *Resolver) got(name string, l *lookup) []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.host(name).order(l.got)
}

func (h *host) order(f families) []netip.Addr {
	all := f.mixed()
	slices.SortStableFunc(all, func(a, b netip.Addr) int { return cmp.Compare(h.rank[a], h.rank[b]) })
	return all
}

// tried notes that an attempt to connect to an address begins, or that it was
// successful.
func (r *Resolver) tried(name string, a netip.Addr, connected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.host(name)
	if h.rank == nil {
		h.rank = map[netip.Addr]int64{}
	}
	h.rank[a] = time.Now().UnixNano()
	if connected {
		for other, rank := range h.rank {
			if rank < 0 {
				h.rank[other] = 0
			}
		}
		h.rank[a] = -1
	}
}

// run carries out a look-up.
func (r *Resolver) run(name string, h *host, l *lookup) {
	ctx, cancel := context.WithTimeoutCause(r.ctx, Budget, errBudget)
	defer cancel()
	type answer struct {
		family    int
		addresses []netip.Addr
		err       error
	}
	answers := make(chan answer, len(networks))
	for i, network := range networks {
		r.running.Go(func() {
			found, err := r.Lookup(ctx, network, name)
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			answers <- answer{i, found, err}
		})
	}
	usable := sync.OnceFunc(func() { close(l.first) })
	var missing [len(networks)]bool // the servers say that there is no such address
	var failed error
	delay := time.NewTimer(Budget)
	defer delay.Stop()
	for left := len(networks); left > 0; {
		select {
		case <-delay.C:
			usable()
			continue
		case a := <-answers:
			left--
			var fresh families
			for _, addr := range a.addresses {
				if addr = addr.Unmap(); usableAddress(addr) {
					fresh.add(addr)
				}
			}
			r.mu.Lock()
			switch {
			case a.err == nil && len(fresh[a.family]) > 0:
				l.got[a.family] = fresh[a.family]
				h.known[a.family] = fresh[a.family]
			case a.err == nil || isMissing(a.err):
				missing[a.family] = true
			default:
				failed = a.err
			}
			r.mu.Unlock()
			switch {
			case len(fresh[a.family]) == 0:
			case networks[a.family] == "ip6":
				usable()
			default:
				delay.Reset(resolutionDelay)
			}
		}
	}
	r.finish(name, h, l, missing, failed)
	usable()
	close(l.done)
	// The file is written last, so that no dial waits for it.
	if l.err == nil {
		r.mu.Lock()
		known := h.known.mixed()
		r.mu.Unlock()
		r.store.save(strings.ToLower(name), known)
	}
}

// isMissing reports whether name servers say that a name, or an address of that
// family for it, does not exist.
func isMissing(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// usableAddress reports whether an answer can be connected to.
func usableAddress(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast()
}

// finish records the result of a look-up.
func (r *Resolver) finish(name string, h *host, l *lookup, missing [2]bool, failed error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.asking = nil
	switch {
	case l.left:
		h.fresh = time.Now().Add(missed)
	case !l.got.empty():
		h.fresh = time.Now().Add(freshness)
	}
	if !l.got.empty() {
		// The former addresses of a family that was not answered stay.
		for i := range missing {
			if missing[i] {
				h.known[i] = nil
			}
		}
		known := h.known.mixed()
		for a := range h.rank {
			if !slices.Contains(known, a) {
				delete(h.rank, a)
			}
		}
		h.failing.Clear(zap.Stringers("addresses", known))
		return
	}
	l.err = failed
	if failed == nil {
		l.err = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	// A name server that does not know the name any more does not end what works:
	// names are lost by mistake more often than the servers behind them.
	if !r.closed && !h.known.empty() {
		h.failing.Fail(unresolved, l.err, zap.Stringers("addresses", h.known.mixed()))
	}
}
