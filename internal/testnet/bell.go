//go:build linux

package testnet

import (
	"context"
	"sync"
)

// A Bell wakes everybody who waits for some state to change: log lines,
// address events, requests. The zero value is ready. It replaces sleeping and
// polling in tests: whoever changes state rings, whoever waits looks again.
type Bell struct {
	mu   sync.Mutex
	next chan struct{}
}

// Ring makes all waiters look at their condition again. It never blocks.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// Wait returns nil as soon as cond is true, looking at once and after each
// ring, or the context's cause if that ends first. Whatever cond reads must be
// changed before the bell is rung. cond runs on the caller's goroutine.
func (b *Bell) Wait(ctx context.Context, cond func() bool) error {
	for {
		b.mu.Lock()
		if b.next == nil {
			b.next = make(chan struct{})
		}
		rung := b.next
		b.mu.Unlock()
		// The channel is taken before the look, so a change between the two
		// is not missed.
		if cond() {
			return nil
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
