package app

import (
	"sync"

	"berth/internal/journal"
	"berth/internal/names"

	"go.uber.org/zap"
)

// resolvers has the one resolver of the process for each run directory; a
// configuration that is read again may name another.
type resolvers struct {
	mu  sync.Mutex
	all map[string]*names.Resolver
}

// at returns the resolver that keeps what it looks up in runDirectory, or nowhere
// if that is empty, as for commands that change nothing.
func (r *resolvers) at(runDirectory string, log *zap.Logger) *names.Resolver {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]*names.Resolver{}
	}
	found := r.all[runDirectory]
	if found == nil {
		found = names.New(runDirectory, journal.New(log))
		r.all[runDirectory] = found
	}
	return found
}

// close ends all look-ups.
func (r *resolvers) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resolver := range r.all {
		resolver.Close()
	}
}

// Close ends what outlives a single command's parts. It is called when the command
// has ended.
func (o *Options) Close() { o.resolvers.close() }
