package names

import (
	"sync"

	"berth/internal/journal"
)

// Pool has the one resolver of a process for each run directory: a configuration that is
// read again may name another. The zero value is empty. Its methods may be called by
// several goroutines at once.
type Pool struct {
	mu  sync.Mutex
	all map[string]*Resolver
}

// At returns the resolver that keeps what it looks up in the run directory, or on disk
// nowhere if that is "", as for commands that change nothing.
func (p *Pool) At(runDirectory string, j *journal.Journal) *Resolver {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]*Resolver{}
	}
	found := p.all[runDirectory]
	if found == nil {
		found = New(runDirectory, j)
		p.all[runDirectory] = found
	}
	return found
}

// Close ends all look-ups and waits for their end.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.all {
		r.Close()
	}
}
