package truth

import (
	"context"
	"sync"
	"time"

	"berth/vrrp"

	"go.uber.org/zap"
)

const (
	// interval is how often a look is taken even though no event asked for
	// one.
	interval = time.Minute
	// gather joins the events of a moment into one look.
	gather = 20 * time.Millisecond
)

// Host is what the machine shows.
type Host struct {
	Addresses func() (Bound, error)
	// Subscribe is as the method of Network.
	Subscribe func(ctx context.Context, changed func()) error
}

// Watcher looks for the addresses of the instances that are MASTER. An address
// that was seen here, has gone and stays away is suspended until it returns.
type Watcher struct {
	host Host
	log  *zap.Logger
	wake chan struct{} // one slot: a look is wanted

	mu       sync.Mutex
	watches  map[*Watch]bool
	kept     map[string]map[vrrp.FloatingIP]sight // by instance, see Keep
	failing  bool
	silentOf map[string]bool // instances of which it was said that nothing is seen
}

// NewWatcher returns a watcher; Run starts it.
func NewWatcher(host Host, log *zap.Logger) *Watcher {
	if log == nil {
		log = zap.NewNop()
	}
	return &Watcher{host: host, log: log, wake: make(chan struct{}, 1), watches: map[*Watch]bool{},
		kept: map[string]map[vrrp.FloatingIP]sight{}, silentOf: map[string]bool{}}
}

// Run looks until ctx ends and returns its cause.
func (w *Watcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	// It ends with ctx and returns nothing but its cause.
	wg.Go(func() { _ = w.host.Subscribe(ctx, w.Look) })
	for {
		next := w.look(time.Now())
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		case <-w.wake:
			timer.Stop()
			select {
			case <-ctx.Done():
			case <-time.After(gather):
			}
		}
	}
}

// Look asks for a look soon. It never blocks.
func (w *Watcher) Look() {
	select {
	case w.wake <- struct{}{}:
	default: // asked for already
	}
}

// look takes a look and returns when the next is due.
func (w *Watcher) look(now time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := now.Add(interval)
	if len(w.watches) == 0 {
		return next
	}
	bound, err := w.host.Addresses()
	if err != nil {
		if !w.failing {
			w.log.Warn("cannot look at the addresses of keepalived; events alone count", zap.Error(err))
		}
		w.failing = true
		return next
	}
	if w.failing {
		w.log.Info("the addresses of keepalived are seen again")
	}
	w.failing = false
	for watch := range w.watches {
		if at := watch.look(bound, now); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// Watch is the look at the addresses of one instance, from the moment it became
// MASTER.
type Watch struct {
	w         *Watcher
	instance  string
	corrected func(reason string)
	changed   chan struct{}
	began     time.Time

	sights map[vrrp.FloatingIP]sight // guarded by w.mu
}

// Watch begins to look for an instance that is MASTER now. corrected is told of
// each address that is suspended; it must not block. Close the result.
func (w *Watcher) Watch(instance string, corrected func(reason string)) *Watch {
	h := &Watch{w: w, instance: instance, corrected: corrected, changed: make(chan struct{}, 1), began: time.Now(), sights: map[vrrp.FloatingIP]sight{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	if kept, ok := w.kept[instance]; ok {
		h.sights = kept
		delete(w.kept, instance)
	}
	w.watches[h] = true
	return h
}

// Forget drops what was kept of an instance that is no longer MASTER.
func (w *Watcher) Forget(instance string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.kept, instance)
}

// Close ends it.
func (h *Watch) Close() {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	delete(h.w.watches, h)
}

// Keep keeps what was seen for the next Watch of the instance: the same MASTER
// goes on under another configuration. Close the watch all the same.
func (h *Watch) Keep() {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.w.kept[h.instance] = h.sights
}

// Changed receives after Present has changed.
func (h *Watch) Changed() <-chan struct{} { return h.changed }

// Present makes these the addresses to look for, and returns those of them
// that are not suspended.
func (h *Watch) Present(wanted []vrrp.FloatingIP) []vrrp.FloatingIP {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	former := h.sights
	h.sights = make(map[vrrp.FloatingIP]sight, len(wanted))
	var present []vrrp.FloatingIP
	for _, ip := range wanted {
		s, known := former[ip]
		if !known {
			h.w.Look()
		}
		h.sights[ip] = s
		if !s.suspended {
			present = append(present, ip)
		}
	}
	return present
}

// look takes what is bound, and returns when the next look is due. It is
// called with the lock held.
func (h *Watch) look(bound Bound, now time.Time) time.Time {
	var due time.Time
	seen := false
	for ip, s := range h.sights {
		s, change := s.look(bound.Has(ip.Addr()), now)
		h.sights[ip] = s
		seen = seen || s.seen
		if at := s.due(); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
		if change == none {
			continue
		}
		log := h.w.log.With(zap.String("instance", h.instance), zap.String("address", ip.String()))
		if change == suspend {
			const reason = "the address has gone from this host without an event"
			log.Warn("suspending the floating IP until its address returns", zap.String("reason", reason))
			h.corrected(ip.String() + ": " + reason)
		} else {
			log.Info("the address has returned; the floating IP is no longer suspended")
		}
		select {
		case h.changed <- struct{}{}:
		default:
		}
	}
	if !seen && len(h.sights) > 0 && now.Sub(h.began) >= interval && !h.w.silentOf[h.instance] {
		h.w.silentOf[h.instance] = true
		h.w.log.Info("none of the addresses is on this host; events alone count for this instance", zap.String("instance", h.instance))
	}
	return due
}
