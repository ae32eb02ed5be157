package heartbeat

import (
	"context"
	"net/netip"
	"time"

	"berth/internal/condition"
	"berth/internal/run"
	"berth/vrrp"
)

// source names the origin of the events in the log.
const source = "heartbeat"

// Run sends and receives heartbeats and hands on what follows from them, until ctx ends;
// it returns the cause. It is called once, after Open. It is Run of a service.Source.
func (n *Node) Run(ctx context.Context, emit func(burst []vrrp.Event)) error {
	n.mu.Lock()
	n.hold = hold{until: time.Now().Add(n.dead + slack)}
	n.beat()
	n.mu.Unlock()
	n.deciding.Lock()
	n.emit = emit
	n.deciding.Unlock()
	close(n.begun)
	tasks := []run.Task{
		{Name: "sender", Run: n.send},
		{Name: "receiver", Run: n.receive},
		{Name: "decisions", Run: n.decisions},
		{Name: "report", Run: n.report},
	}
	if n.options.Key != nil {
		tasks = append(tasks, run.Task{Name: "counters", Run: n.store})
	}
	return run.Together(ctx, tasks...)
}

// CatchUp returns after every datagram that waited in the socket when it was called was
// judged, and what follows was handed on. It is CatchUp of a service.Source.
func (n *Node) CatchUp(ctx context.Context) {
	select {
	case <-n.begun:
		n.judge()
	case <-ctx.Done():
	}
}

// decisions decides whenever a datagram, a condition or time may change what was decided,
// until ctx ends.
func (n *Node) decisions(ctx context.Context) error {
	able := make(<-chan struct{})
	if n.options.Able != nil {
		changed, stop := condition.Signal(n.options.Able)
		defer stop()
		able = changed
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case <-n.changed:
		case <-able:
			signal(n.due)
		}
		if next := n.judge(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// judge takes the datagrams that wait, decides, and emits what has changed. A peer is
// dead only if no datagram of it waits. It returns when time alone can change a decision.
func (n *Node) judge() time.Time {
	_, _ = n.drain(waiting) // the receiver tells an error
	unable := n.unable()
	n.deciding.Lock()
	defer n.deciding.Unlock()
	n.mu.Lock()
	events, next, changed := n.decide(unable)
	n.mu.Unlock()
	if len(events) > 0 {
		n.emit(events)
	}
	if changed {
		signal(n.news)
		n.tellWatchers()
	}
	return next
}

// decide decides about all addresses, and returns the events that follow, when time
// alone can change something, and whether a peer has changed. It is called with mu held.
func (n *Node) decide(unable string) (events []vrrp.Event, next time.Time, changed bool) {
	n.beat()
	now := time.Now()
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, a := range n.addresses {
		altered, end := n.table.live(a, now, n.dead)
		changed = changed || altered
		sooner(end)
		f := n.facts(a, unable)
		if back := f.stepBack(n.priority, n.back[a]); back != n.back[a] && unable == "" {
			n.back[a] = back
			signal(n.due)
			f = n.facts(a, unable)
		}
		v := decide(f)
		sooner(v.next)
		e := vrrp.Event{Source: source, Instance: a.String(), Priority: f.priority, Received: now, Reason: v.reason}
		switch {
		case v.state != vrrp.Unknown && (v.state != n.told[a] || v.state == vrrp.Backup && v.reason != n.why[a]):
			// BACKUP is told again when another peer is why.
			e.Kind, e.State = vrrp.StateChange, v.state
			n.told[a], n.why[a] = v.state, v.reason
			events = append(events, e)
		case v.state == vrrp.Master && altered:
			// A peer that died may have left the address with it, and one that is heard
			// again may have been MASTER meanwhile.
			e.Kind = vrrp.VerifyNow
			events = append(events, e)
		case f.priority != n.toldPrio[a] && v.state != vrrp.Unknown:
			e.Kind = vrrp.PriorityChange
			events = append(events, e)
		}
		n.toldPrio[a] = f.priority
	}
	return events, next, changed
}

// live notes which peers live, and reports whether that has changed, and when the next
// dies if it stays silent.
func (t *table) live(address netip.Addr, now time.Time, dead time.Duration) (changed bool, next time.Time) {
	for _, p := range t.peers {
		h := p.about[address]
		if h == nil {
			continue
		}
		alive := h.lives(now, dead) && !p.self
		changed = changed || alive != h.alive
		h.alive = alive
		if end := h.heard.Add(dead); alive && (next.IsZero() || end.Before(next)) {
			next = end
		}
	}
	return changed, next
}
