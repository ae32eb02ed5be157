package election

import (
	"sync"
	"time"
)

// pulse notices that this process did not run for a while: it was stopped, or the machine
// was too busy. etcd may have answered meanwhile, or nobody may have asked it, so that its
// silence over that time means nothing. Time for which the machine was suspended is not in
// the monotonic clock, and does not count as silence anyway.
type pulse struct {
	mu    sync.Mutex // guards both
	last  time.Time  // when beat was last called
	since time.Time  // since when the process runs, zero if it has since the first beat
}

// beat notes that the process runs, and returns since when it does. It is called at each
// retainTick, and where that matters: the goroutine that is first after a standstill
// notices it.
func (p *pulse) beat() (since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if !p.last.IsZero() && now.Sub(p.last) > retainTick+retainStall {
		p.since = now
	}
	p.last = now
	return p.since
}
