package presence

import (
	"context"
	"sync"
	"time"

	"berth/internal/journal"
	"berth/vrrp"

	"go.uber.org/zap"
)

const (
	// interval is how often the addresses are read even though no event of the kernel
	// asks for it.
	interval = time.Minute
	// gather joins the events of a moment into one reading.
	gather = 20 * time.Millisecond
)

// Host is the network in which keepalived has its addresses. A *Network is one.
type Host interface {
	// Addresses lists the addresses there.
	Addresses() (Bound, error)
	// Known reports whether keepalived is surely in the network that Addresses read
	// last. Where that cannot be told, an address that is missing proves nothing.
	Known() bool
	// Subscribe calls changed, which must not block, after changes of the addresses,
	// and whenever some may have been missed, until ctx ends. It returns ctx's cause.
	Subscribe(ctx context.Context, changed func()) error
}

// Options are what an Observer is made of.
type Options struct {
	Host Host
	// Changed, which may be nil, is called whenever addresses may have changed. It
	// must not block.
	Changed func()
	// Corrected is told of each address of an instance that is suspended, and why. It
	// must not block.
	Corrected func(instance, reason string)
	Journal   *journal.Journal // nil: nothing is told
}

// Observer observes the addresses of the instances that are MASTER. An address
// that was seen here, has gone and stays away is suspended until it returns.
type Observer struct {
	Options
	unreadable *journal.Condition
	wake       chan struct{} // one slot: the addresses are to be read

	mu       sync.Mutex
	watches  map[*Watch]bool
	retained map[string]map[vrrp.FloatingIP]observation // by instance, see Retain
	absent   map[string]bool                            // instances of which absent was told
}

// NewObserver returns an observer; Run starts it.
func NewObserver(o Options) *Observer {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	return &Observer{Options: o, unreadable: o.Journal.Condition(), wake: make(chan struct{}, 1), watches: map[*Watch]bool{},
		retained: map[string]map[vrrp.FloatingIP]observation{}, absent: map[string]bool{}}
}

// Bound reads the addresses of keepalived's network. known is as Host.Known. That
// they cannot be read, and that they can again, is told here, for all callers.
func (o *Observer) Bound() (bound Bound, known bool, err error) {
	bound, err = o.Host.Addresses()
	if err != nil {
		o.unreadable.Fail(unreadable, err)
	} else {
		o.unreadable.Clear()
	}
	return bound, o.Host.Known(), err
}

// Run observes until ctx ends and returns its cause.
func (o *Observer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		_ = o.Host.Subscribe(ctx, func() { // ends with ctx and returns nothing but its cause
			o.poke()
			if o.Changed != nil {
				o.Changed()
			}
		})
	})
	for {
		next := o.observe(time.Now())
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		case <-o.wake:
			timer.Stop()
			select {
			case <-ctx.Done():
			case <-time.After(gather):
			}
		}
	}
}

// poke has the addresses read soon. It never blocks.
func (o *Observer) poke() {
	select {
	case o.wake <- struct{}{}:
	default: // they are to be read already
	}
}

// observe reads the addresses and returns when to read them next.
func (o *Observer) observe(now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := now.Add(interval)
	if len(o.watches) == 0 {
		return next
	}
	bound, _, err := o.Bound()
	if err != nil {
		return next
	}
	for watch := range o.watches {
		if at := watch.observe(bound, now); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// Watch observes the addresses of one instance, from the moment it became MASTER.
type Watch struct {
	observer *Observer
	instance string
	changed  chan struct{}
	began    time.Time

	addresses map[vrrp.FloatingIP]observation // guarded by observer.mu
}

// Watch begins to observe an instance that is MASTER now. Close the result.
func (o *Observer) Watch(instance string) *Watch {
	w := &Watch{observer: o, instance: instance, changed: make(chan struct{}, 1), began: time.Now(), addresses: map[vrrp.FloatingIP]observation{}}
	o.mu.Lock()
	defer o.mu.Unlock()
	if retained, ok := o.retained[instance]; ok {
		w.addresses = retained
		delete(o.retained, instance)
	}
	o.watches[w] = true
	return w
}

// Forget drops what was retained of an instance that is no longer MASTER.
func (o *Observer) Forget(instance string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.retained, instance)
}

// Close ends it.
func (w *Watch) Close() {
	w.observer.mu.Lock()
	defer w.observer.mu.Unlock()
	delete(w.observer.watches, w)
}

// Retain retains what was seen for the next Watch of the instance: the same MASTER
// goes on under another configuration. Close the watch all the same.
func (w *Watch) Retain() {
	w.observer.mu.Lock()
	defer w.observer.mu.Unlock()
	w.observer.retained[w.instance] = w.addresses
}

// Changed receives after Present has changed.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// Present makes these the addresses to observe, and returns those of them
// that are not suspended.
func (w *Watch) Present(wanted []vrrp.FloatingIP) []vrrp.FloatingIP {
	w.observer.mu.Lock()
	defer w.observer.mu.Unlock()
	former := w.addresses
	w.addresses = make(map[vrrp.FloatingIP]observation, len(wanted))
	var present []vrrp.FloatingIP
	for _, ip := range wanted {
		is, known := former[ip]
		if !known {
			w.observer.poke()
		}
		w.addresses[ip] = is
		if !is.suspended {
			present = append(present, ip)
		}
	}
	return present
}

// observe takes what is bound, and returns when the addresses are to be read next. It
// is called with the lock held.
func (w *Watch) observe(bound Bound, now time.Time) time.Time {
	var due time.Time
	seen := false
	for ip, former := range w.addresses {
		is, change := former.next(bound.Has(ip.Addr()), now)
		w.addresses[ip] = is
		seen = seen || is.seen
		if at := is.due(); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
		if change != none {
			w.tell(ip, change)
		}
	}
	if !seen && len(w.addresses) > 0 && now.Sub(w.began) >= interval && !w.observer.absent[w.instance] {
		w.observer.absent[w.instance] = true
		w.observer.Journal.Tell(absent, zap.String("instance", w.instance))
	}
	return due
}

// tell tells of a change in the log and to the holder of the watch.
func (w *Watch) tell(ip vrrp.FloatingIP, is change) {
	fields := []zap.Field{zap.String("instance", w.instance), zap.String("address", ip.String())}
	if is == suspend {
		const reason = "the address has gone from this host without an event"
		w.observer.Journal.Tell(suspended, append(fields, zap.String("reason", reason))...)
		w.observer.Corrected(w.instance, ip.String()+": "+reason)
	} else {
		w.observer.Journal.Tell(resumed, fields...)
	}
	select {
	case w.changed <- struct{}{}:
	default: // one change is told already
	}
}
