package instance

import (
	"context"
	"sync"
	"time"

	"berth/internal/journal"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Table holds one machine for each instance that was ever named.
type Table struct {
	hold    Hold
	changed func(Status)
	journal *journal.Journal

	mu       sync.Mutex
	machines map[string]*machine
	unborn   []*machine // made, not yet running
	born     chan struct{}
}

// NewTable returns a table whose machines run hold while MASTER. changed, which
// may be nil, is called after every message; calls for one instance do not
// overlap, and it must not block. j may be nil.
func NewTable(hold Hold, changed func(Status), j *journal.Journal) *Table {
	if j == nil {
		j = journal.New(nil)
	}
	if changed == nil {
		changed = func(Status) {}
	}
	return &Table{hold: hold, changed: changed, journal: j, machines: map[string]*machine{}, born: make(chan struct{}, 1)}
}

// Run runs the machines until ctx ends, and returns the cause after the last
// holding has ended.
func (t *Table) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.born:
		}
		t.mu.Lock()
		unborn := t.unborn
		t.unborn = nil
		t.mu.Unlock()
		for _, m := range unborn {
			wg.Go(func() { m.run(ctx) })
		}
	}
}

// Deliver hands events to their machines, oldest first. It never blocks on
// what they cause. The events of one call are one burst: an instance sees only
// the newest state of it.
func (t *Table) Deliver(events []vrrp.Event) {
	var order []*machine
	bursts := map[*machine][]vrrp.Event{}
	for _, ev := range events {
		m := t.machine(ev.Instance)
		if bursts[m] == nil {
			order = append(order, m)
		}
		bursts[m] = append(bursts[m], ev)
	}
	for _, m := range order {
		m.box.put(bursts[m])
		m.box.wake()
	}
}

// Suppose hands on a state that the source did not report, but that follows from
// what the host shows. The state counts only if none of the instance was reported
// after since; with the zero time, none at all. Suppose never blocks, and reports
// whether that changed anything.
func (t *Table) Suppose(ev vrrp.Event, since time.Time) bool {
	m := t.machine(ev.Instance)
	if !m.box.suppose(ev, since) {
		return false
	}
	m.box.wake()
	return true
}

// Known reports whether a state of the instance that is still valid was reported or
// supposed.
func (t *Table) Known(name string) bool {
	t.mu.Lock()
	m, ok := t.machines[name]
	t.mu.Unlock()
	return ok && m.box.known()
}

// IsMaster reports whether the newest state of the instance that was reported or
// supposed is MASTER; the machine may not have acted on it yet.
func (t *Table) IsMaster(name string) bool {
	t.mu.Lock()
	m, ok := t.machines[name]
	t.mu.Unlock()
	return ok && m.box.isMaster()
}

// Masters returns the instances whose newest state is MASTER, in no order.
func (t *Table) Masters() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for name, m := range t.machines {
		if m.box.isMaster() {
			names = append(names, name)
		}
	}
	return names
}

// Restart ends every holding, with a cause, and begins it anew. It does not wait.
func (t *Table) Restart(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.machines {
		m.box.putRestart(cause)
		m.box.wake()
	}
}

// End ends, with a cause, every holding that began with a MASTER received before the
// given moment, and returns how many there are. It does not wait.
func (t *Table) End(cause error, before time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, m := range t.machines {
		if m.box.putEnd(cause, before) {
			m.box.wake()
			n++
		}
	}
	return n
}

func (t *Table) machine(name string) *machine {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.machines[name]
	if ok {
		return m
	}
	m = &machine{
		box:     newMailbox(),
		hold:    t.hold,
		changed: t.changed,
		journal: t.journal.With(zap.String("instance", name)),
		status:  Status{Instance: name},
	}
	t.machines[name] = m
	t.unborn = append(t.unborn, m)
	select {
	case t.born <- struct{}{}:
	default:
	}
	return m
}
