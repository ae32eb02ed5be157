package heartbeat

import (
	"time"

	"berth/internal/boot"
)

// pulse notices that this process did not run, because it was stopped or the machine was
// suspended. Its peers may count it as dead meanwhile, and it does not know them any more.
// Its methods are called with the lock of the node held.
type pulse struct {
	at   time.Time
	boot time.Duration // the time since boot, which goes on during a suspension
}

// beat notes that the process runs, and returns for how long it did not, as far as that is
// known.
func (p *pulse) beat() time.Duration {
	var gap time.Duration
	if !p.at.IsZero() {
		gap = p.gap()
	}
	p.at, p.boot = time.Now(), boot.Clock()
	return gap
}

func (p *pulse) gap() time.Duration { return time.Since(p.at) + boot.Suspended(p.at, p.boot) }
