package testnet

import (
	"context"
	"sync"
)

// A Bell wakes all goroutines that wait for some state to change: log lines,
// address events, requests. The zero value is ready. It replaces sleeping and
// polling in tests: a goroutine that changes state rings, one that waits evaluates
// its condition again.
type Bell struct {
	mu   sync.Mutex
	next chan struct{}
}

// Ring makes all waiters evaluate their condition again. It never blocks.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// Wait returns nil as soon as cond is true, or the context's cause if the context
// ends first. It evaluates cond at once and after each ring. Whatever cond reads must be
// changed before the bell is rung. cond runs on the caller's goroutine.
func (b *Bell) Wait(ctx context.Context, cond func() bool) error {
	for {
		b.mu.Lock()
		if b.next == nil {
			b.next = make(chan struct{})
		}
		rung := b.next
		b.mu.Unlock()
		// The channel is taken before cond is evaluated, so a change between the two
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
