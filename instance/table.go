package instance

import (
	"context"
	"sync"
	"time"

	"berth/vrrp"

	"go.uber.org/zap"
)

// Table holds one machine for each instance that was ever named.
type Table struct {
	hold    Hold
	changed func(Status)
	log     *zap.Logger

	mu       sync.Mutex
	machines map[string]*machine
	unborn   []*machine // made, not yet running
	born     chan struct{}
}

// NewTable returns a table whose machines run hold while MASTER. changed, which
// may be nil, is told after every message; calls for one instance do not
// overlap, and it must not block.
func NewTable(hold Hold, changed func(Status), log *zap.Logger) *Table {
	if log == nil {
		log = zap.NewNop()
	}
	if changed == nil {
		changed = func(Status) {}
	}
	return &Table{hold: hold, changed: changed, log: log, machines: map[string]*machine{}, born: make(chan struct{}, 1)}
}

// Run runs the machines until ctx ends, and returns its cause after the last
// holding is gone.
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

// Suppose hands on a state that keepalived did not report, but that follows from
// what the machine shows. It counts only if keepalived has reported no state of
// the instance after since; with the zero time, none at all. It never blocks,
// and reports whether that changed anything.
func (t *Table) Suppose(ev vrrp.Event, since time.Time) bool {
	m := t.machine(ev.Instance)
	if !m.box.suppose(ev, since) {
		return false
	}
	m.box.wake()
	return true
}

// Known reports whether keepalived has reported a state of the instance that is
// still valid, or one was supposed.
func (t *Table) Known(name string) bool {
	t.mu.Lock()
	m, ok := t.machines[name]
	t.mu.Unlock()
	return ok && m.box.known()
}

// IsMaster reports whether the newest state that keepalived has reported of the
// instance, or that was supposed, is MASTER; its machine may not have come to it.
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

// Restart ends every holding and begins it anew, without waiting.
func (t *Table) Restart(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.machines {
		m.box.putRestart(cause)
		m.box.wake()
	}
}

// End ends every holding that began with a MASTER word received before the
// given moment, without waiting, and returns how many there are.
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
		log:     t.log.With(zap.String("instance", name)),
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
