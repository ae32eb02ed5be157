package yield

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"berth/guard"
	"berth/internal/journal"
	"berth/internal/run"
	"berth/providers"

	"go.uber.org/zap"
)

// Provider has floating IPs that several servers can have at once; *pointing.Cloud is one.
type Provider interface {
	// Observe returns the holder of a floating IP.
	Observe(ctx context.Context, addr netip.Addr) (providers.Holder, error)
	// Release is that of providers.Releaser.
	Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error
}

// Options are what a Set works with.
type Options struct {
	Addresses []netip.Addr
	Provider  Provider
	// Outranked reports whether a living peer is known that is the better owner of a
	// floating IP, and able to be that. It must not block.
	Outranked func(addr netip.Addr) bool
	Interval  time.Duration    // until the second observation; then it backs off
	Longest   time.Duration    // between two observations
	Timeout   time.Duration    // of an observation, and of a release
	Journal   *journal.Journal // must not be nil
}

// Set gives up some floating IPs. It is also the guard of those that are held: while this
// host acts for one, it does not give it up.
type Set struct {
	o   Options
	all map[string]*address // by name of the instance; not changed after New
}

// address is one floating IP.
type address struct {
	*Set
	addr    netip.Addr
	journal *journal.Journal
	wake    chan struct{} // one slot: wanted has become true

	mu     sync.Mutex    // guards all below
	wanted bool          // this host is not the owner, and may still have the floating IP
	since  time.Time     // when wanted became true
	idle   chan struct{} // closed when no attempt runs
	stop   context.CancelCauseFunc
}

const (
	// settle is for how long after the end of ownership the floating IP is observed even if
	// this host does not seem to have it: a claim that was on the wire then is carried out
	// by the provider when it likes.
	settle = 20 * time.Second

	multiplier = 1.5 // of the back-off
)

// errOwner is the cause with which an attempt ends when this host becomes the owner again.
var errOwner = errors.New("this host is the owner again")

// New returns a set that gives up nothing yet.
func New(o Options) *Set {
	s := &Set{o: o, all: map[string]*address{}}
	for _, addr := range o.Addresses {
		idle := make(chan struct{})
		close(idle)
		s.all[addr.String()] = &address{Set: s, addr: addr, wake: make(chan struct{}, 1), idle: idle, stop: func(error) {},
			journal: o.Journal.With(zap.Stringer("address", addr))}
	}
	return s
}

// Begin has a floating IP given up, whose holding has ended. It does not block, and calls
// that repeat it change nothing.
func (s *Set) Begin(instance string) {
	a := s.all[instance]
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.wanted {
		return
	}
	a.wanted, a.since = true, time.Now()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// While is that of guard.Guard: the permission is always given, after an attempt to give
// the floating IP up has ended.
func (s *Set) While(ctx context.Context, instance string, act guard.Act) error {
	if a := s.all[instance]; a != nil {
		a.mu.Lock()
		a.wanted = false
		a.stop(errOwner)
		idle := a.idle
		a.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return act(ctx, guard.NewPermit(ctx))
}

// Run gives up what is to be given up until ctx ends, and returns the cause.
func (s *Set) Run(ctx context.Context) error {
	var tasks []run.Task
	for name, a := range s.all {
		tasks = append(tasks, run.Task{Name: name, Run: a.run})
	}
	_ = run.All(ctx, tasks...) // they end with ctx alone
	<-ctx.Done()
	return context.Cause(ctx)
}

func (a *address) run(ctx context.Context) error {
	failing := a.journal.Condition()
	defer failing.Drop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.wake:
		}
		wait := a.o.Interval
		for {
			attempt, ok := a.begin(ctx)
			if !ok {
				break
			}
			gone, err := a.attempt(attempt)
			stopped := attempt.Err() != nil
			a.end(gone)
			switch {
			case stopped:
			case err != nil:
				failing.Fail(notYielded, err)
			default:
				failing.Clear()
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-a.wake: // the owner again for a while: from the beginning
				wait = a.o.Interval
			case <-time.After(wait):
				wait = min(time.Duration(float64(wait)*multiplier), a.o.Longest)
			}
		}
		failing.Clear()
	}
}

// begin returns the context of an attempt, unless none is wanted.
func (a *address) begin(ctx context.Context) (context.Context, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.wanted {
		return nil, false
	}
	a.idle = make(chan struct{})
	ctx, a.stop = context.WithCancelCause(ctx)
	return ctx, true
}

// end ends an attempt. gone says that this host does not have the floating IP.
func (a *address) end(gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stop(nil)
	a.stop = func(error) {}
	if gone && time.Since(a.since) >= settle {
		a.wanted = false
	}
	close(a.idle)
}

// attempt observes the floating IP, and detaches this host if another has it too. It
// reports whether this host is seen not to have it.
func (a *address) attempt(ctx context.Context) (gone bool, err error) {
	limit := fmt.Errorf("no success within the refresh timeout of %v", a.o.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, a.o.Timeout, limit)
	defer cancel()
	h, err := a.o.Provider.Observe(ctx, a.addr)
	if err != nil {
		return false, err
	}
	switch {
	case h.Kind == providers.Mine, h.Kind == providers.Unknown:
		return false, nil
	case h.Kind != providers.Other || !h.Beside:
		return true, nil
	case !a.o.Outranked(a.addr):
		return false, nil
	}
	err = a.o.Provider.Release(ctx, a.addr, func(context.Context) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !a.o.Outranked(a.addr) {
			return errNobody
		}
		return nil
	})
	switch {
	case errors.Is(err, errNobody):
		return false, nil
	case err != nil:
		return false, err
	}
	a.journal.Tell(gaveWay, zap.String("owner", h.Owner))
	return false, nil // the next observation is the proof
}

// errNobody forbids the release when no better owner lives any more.
var errNobody = errors.New("no better owner lives any more")

// Release detaches this host from floating IPs at the end of its process, all at the same
// time, within limit. It tells what becomes of each.
func Release(ctx context.Context, p Provider, addrs []netip.Addr, limit time.Duration, j *journal.Journal) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no success within %v", limit))
	defer cancel()
	var releasing sync.WaitGroup
	for _, addr := range addrs {
		releasing.Go(func() {
			err := p.Release(ctx, addr, func(ctx context.Context) error { return context.Cause(ctx) })
			if err != nil {
				j.Tell(notReleased, zap.Stringer("address", addr), zap.Error(err))
				return
			}
			j.Tell(released, zap.Stringer("address", addr))
		})
	}
	releasing.Wait()
}
