package reconcile

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/presence"
	"berth/keepalivedconf"
	"berth/vrrp"

	"go.uber.org/zap"
)

// An instance that the table has as MASTER and the file does not have may have
// been renamed: keepalived takes it over at its reload, by the virtual router
// id, and says nothing of either name. When keepalived is told to reload cannot be
// seen, so it is asked again, at first often.
const (
	askOften  = 5 * time.Second
	askSeldom = time.Minute
)

// Table has the states of all instances. An *instance.Table is one.
type Table interface {
	Suppose(ev vrrp.Event, since time.Time) bool
	Known(instance string) bool
	Masters() []string
	End(cause error, before time.Time) int
}

// Keepalived is the keepalived that runs. A *keepalived.Daemon is one.
type Keepalived interface {
	Verdict() keepalived.Verdict
	Expect() bool
	Current() (keepalived.Processes, error)
	Dump(ctx context.Context) (keepalived.Dump, error)
}

// Book has keepalived's configuration. A *reading.Book is one.
type Book interface {
	Reading() (*keepalivedconf.Config, error)
	Watch() <-chan struct{}
}

// Board is where it is shown, and counted, that an instance was corrected, and shown
// why no event of it can arrive. A *status.Board is one.
type Board interface {
	Corrected(instance, reason string)
	Deaf(instance, why string)
}

// Options are what a Reconciler is made of.
type Options struct {
	Table      Table
	Keepalived Keepalived
	Book       Book
	Board      Board
	// Bound is as the method of presence.Observer.
	Bound func() (bound presence.Bound, known bool, err error)
	// Flush returns after every line that waits in the FIFO was delivered, or when
	// ctx ends.
	Flush func(ctx context.Context)
	// Written reports whether any process has the FIFO open to write, which is
	// evidence of life.
	Written func() bool
	// Deaf returns why no line can arrive, "" if lines can.
	Deaf func() string
	// Dying counts the deaths of keepalived whose last lines are being read. All
	// reconcilers of a process share it: lines that a former one has read may come to
	// the next.
	Dying   *atomic.Int32
	Journal *journal.Journal // must not be nil
}

// Reconciler fills with what the machine shows the gaps that keepalived's events
// leave: the states of instances of which no line was read since berth started,
// and of those of which lines were lost. Its methods may be called by several
// goroutines at once, and only Run, Died and Silent wait.
type Reconciler struct {
	Options
	wake chan struct{} // one slot: there is something to reconcile

	mu     sync.Mutex
	all    bool                  // every instance without a line is to be reviewed
	lost   map[string]vrrp.Event // the last line that survived, by instance
	lostAt time.Time             // when the newest loss was noticed

	// Only Run uses these.
	deaf  bool            // no line could arrive a moment ago
	noted map[string]bool // instances whose status says why no line can arrive
}

// New returns a reconciler; Run starts it.
func New(o Options) *Reconciler {
	return &Reconciler{Options: o, wake: make(chan struct{}, 1), deaf: o.Deaf() != ""}
}

// Review has the instances reviewed of which no line was read.
func (r *Reconciler) Review() {
	r.mu.Lock()
	r.all = true
	r.mu.Unlock()
	r.poke()
}

// Lost takes what is left of a burst of which lines were lost.
func (r *Reconciler) Lost(burst []vrrp.Event) {
	r.mu.Lock()
	if r.lost == nil {
		r.lost = map[string]vrrp.Event{}
	}
	for _, ev := range burst {
		if ev.Kind == vrrp.StateChange {
			r.lost[ev.Instance] = ev
		}
	}
	r.lostAt = time.Now()
	r.mu.Unlock()
	r.poke()
}

// DeafnessChanged takes that Deaf has another answer than before.
func (r *Reconciler) DeafnessChanged() { r.poke() }

// AddressesChanged takes that addresses of keepalived's network may have changed.
func (r *Reconciler) AddressesChanged() {
	if r.Deaf() != "" {
		r.poke()
	}
}

func (r *Reconciler) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // Run is woken already
	}
}

// Run reconciles whenever there is a reason, until ctx ends; then it returns ctx's
// cause.
func (r *Reconciler) Run(ctx context.Context) error {
	var lastChange time.Time
	var again <-chan time.Time
	for {
		changed := r.Book.Watch()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.wake:
		case <-again:
			r.mu.Lock()
			r.all = true
			r.mu.Unlock()
		case <-changed:
			// keepalived is about to be told, or was: its events will tell what follows
			// from the new file, but not what it has had all the time.
			lastChange = time.Now()
			r.mu.Lock()
			r.all = true
			r.mu.Unlock()
		}
		again = nil
		switch deaf := r.decideWithoutLines(ctx); {
		case deaf:
			again = time.After(askDeaf)
		case r.fill(ctx):
			wait := askSeldom
			if time.Since(lastChange) < askSeldom {
				wait = askOften
			}
			again = time.After(wait)
		}
	}
}

// correct hands a state on and tells of it if it changed anything.
func (r *Reconciler) correct(ev vrrp.Event, since time.Time) {
	ev.Source, ev.Received = "machine", time.Now()
	if !r.Table.Suppose(ev, since) {
		return
	}
	r.Journal.Tell(corrected, zap.String("instance", ev.Instance), zap.Stringer("state", ev.State), zap.String("reason", ev.Reason))
	r.Board.Corrected(ev.Instance, ev.Reason)
}

// noEvidence is why addresses alone make no MASTER: a keepalived that was killed
// leaves its own behind.
const noEvidence = "all its addresses are on this host, but nothing proves that keepalived runs"

// evident reports whether it is certain that keepalived runs, though it did not
// answer: by its executable, or by the FIFO, which only keepalived has open to write.
func (r *Reconciler) evident(k keepalived.Processes) bool { return k.Proven || r.Written() }
