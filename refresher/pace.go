package refresher

import (
	"math/rand/v2"
	"sync"
	"time"
)

// intervalJitter spreads refreshes, so that hosts do not all call in the same
// moment.
const intervalJitter = 0.1

// jittered returns the interval give or take the jitter.
func jittered(interval time.Duration) time.Duration {
	return time.Duration(float64(interval) * (1 - intervalJitter + 2*intervalJitter*rand.Float64()))
}

// Pace is the common rhythm of all loops of a process: an interval with jitter, the
// same for all, so that one observation of the provider's account serves the refresh
// of every address.
type Pace struct {
	Interval time.Duration

	mu   sync.Mutex
	beat time.Time // the next one
}

// until returns the time from now to the next beat.
func (p *Pace) until(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.beat.After(now) {
		p.beat = now.Add(jittered(p.Interval))
	}
	return p.beat.Sub(now)
}
