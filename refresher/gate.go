package refresher

import (
	"context"
	"slices"
	"sync"
	"time"
)

// shutAt is how many addresses the provider must have refused, with none getting
// through in between, for the refusals to be the account's. One alone may be
// refused for a reason of its own, and must not delay the others.
const shutAt = 2

// waitNotice is how long a loop waits at the gate before that is told.
const waitNotice = 2 * time.Second

// Gate is what the loops of a process share so that an account that is refused
// (401, 403) is tried by one address for all: many providers lock an account that
// fails again and again. While the gate is shut one loop at a time probes, at the
// pace of the back-off and in turn; the others wait for the result of the probe.
// All of them go on when one has got through. There is one gate per account and
// process. The zero value is ready.
type Gate struct {
	mu      sync.Mutex
	loops   int            // that have a place
	refused map[*pass]bool // refused since a loop got through last
	line    []*pass        // waiting to probe
	probe   *pass          // under way, nil if none is
	retry   *retry         // the pace of probes
	next    time.Time      // no probe before
	scouted bool           // a loop that was not refused itself has probed out of turn
	through uint64         // attempts that got through
	reason  string         // of the last refusal
	changed chan struct{}  // closed when a waiting loop has to ask again to be admitted
}

// pass is one loop's place at the gate.
type pass struct {
	gate *Gate
	// Both are guarded by gate.mu.
	through uint64 // gate.through + 1 when this loop was refused last; 0: not refused
	own     bool   // refused again although others got through meanwhile: for a reason of its own
}

// join returns the place of a loop; it must call leave.
func (g *Gate) join(p Policy) *pass {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retry == nil {
		g.retry, g.refused, g.changed = newRetry(p), map[*pass]bool{}, make(chan struct{})
	}
	g.loops++
	return &pass{gate: g}
}

// leave gives the place up; another loop takes over a probe. A gate that is shut stays
// shut for the loops that remain: the account is refused, whether or not the addresses
// that were told so are still here. After the last loop nothing is known of the account.
func (p *pass) leave() {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.loops--; g.loops == 0 {
		clear(g.refused)
	} else if !g.shut() {
		delete(g.refused, p)
	}
	g.line = slices.DeleteFunc(g.line, func(o *pass) bool { return o == p })
	if g.probe == p {
		g.probe, g.next = nil, time.Now()
	}
	g.wake()
}

// enter waits until the loop may make an attempt, and returns false when ctx ends
// before. waits is called, without a lock, if the loop waits longer than waitNotice.
func (p *pass) enter(ctx context.Context, waits func(reason string)) bool {
	g := p.gate
	g.mu.Lock()
	var tell <-chan time.Time
	for !g.admit(p) {
		if tell == nil {
			tell = time.After(waitNotice)
		}
		if !slices.Contains(g.line, p) {
			g.line = append(g.line, p)
		}
		changed, reason := g.changed, g.reason
		var due <-chan time.Time
		if g.probe == nil && g.first() == p {
			due = time.After(time.Until(g.next))
		}
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return false // its leave takes it out of the line
		case <-changed:
		case <-due:
		case <-tell:
			waits(reason)
		}
		g.mu.Lock()
	}
	g.line = slices.DeleteFunc(g.line, func(o *pass) bool { return o == p })
	g.mu.Unlock()
	return true
}

// admit is called with mu held.
func (g *Gate) admit(p *pass) bool {
	if !g.shut() {
		return true
	}
	switch {
	case g.probe != nil:
		return false
	case p.through == 0 && !g.scouted:
		g.scouted = true
	case g.first() != p || time.Now().Before(g.next):
		return false
	}
	g.probe = p
	return true
}

// first returns the loop whose turn it is to probe, nil if none waits: the probe of a
// loop that was not refused yet tells more than that of one that was. It is called
// with mu held.
func (g *Gate) first() *pass {
	if len(g.line) == 0 {
		return nil
	}
	return g.line[max(0, slices.IndexFunc(g.line, func(p *pass) bool { return p.through == 0 }))]
}

// shut is called with mu held.
func (g *Gate) shut() bool { return len(g.refused) >= shutAt }

// wake is called with mu held.
func (g *Gate) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// passed tells that the provider has accepted the account.
func (p *pass) passed() {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.through++
	p.through, p.own = 0, false
	if len(g.refused) == 0 {
		return
	}
	clear(g.refused)
	g.probe, g.scouted = nil, false
	g.retry.reset()
	g.wake()
}

// refuse tells that the provider has refused the account. It returns whether the
// gate is shut now, and when the next probe is due; the loop's own back-off does not
// count then, unless the loop is refused for a reason of its own.
func (p *pass) refuse(reason string, now time.Time) (shut bool, due time.Duration, own bool) {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	p.own = p.own || p.through != 0 && p.through != g.through+1
	p.through = g.through + 1
	g.reason = reason
	was := g.shut()
	g.refused[p] = true
	if !was && g.shut() {
		g.retry.reset()
		g.scouted = false
		g.next = now.Add(g.retry.next(Auth, 0, now))
	} else if g.probe == p {
		g.probe = nil
		g.next = now.Add(g.retry.next(Auth, 0, now))
		g.wake()
	}
	return g.shut(), g.next.Sub(now), p.own
}

// fail tells that an attempt failed and that this says nothing about the account.
func (p *pass) fail(class Class, retryAfter time.Duration, now time.Time) {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.probe == p {
		g.probe, g.next = nil, now.Add(g.retry.next(class, retryAfter, now))
		if p.through == 0 {
			g.scouted = false // the probe has told nothing about the account
		}
		g.wake()
	}
}
