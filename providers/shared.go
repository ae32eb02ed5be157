package providers

import (
	"context"
	"sync"
)

// call is a piece of work that several callers wait for. It runs under a context
// of its own, which ends when the last of them has left.
type call[V any] struct {
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when value and err are set
	value   V
	err     error
	waiters int // guarded by the owner's lock
}

// newCall starts work. Before the result can be seen, ended is called. The caller
// must wait for the call.
func newCall[V any](ctx context.Context, work func(context.Context) (V, error), ended func(V, error)) *call[V] {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c := &call[V]{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer cancel(nil)
		c.value, c.err = work(ctx)
		ended(c.value, c.err)
	}()
	return c
}

// wait returns the result, or the cause of ctx if that ends before. The last waiter
// to leave ends the work and waits for its end. The caller has counted itself in
// waiters; abandon is called under mu when no other caller may join any more.
func (c *call[V]) wait(ctx context.Context, mu *sync.Mutex, abandon func()) (V, error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
	}
	mu.Lock()
	c.waiters--
	last := c.waiters == 0
	if last {
		abandon()
	}
	mu.Unlock()
	if last {
		c.cancel(context.Cause(ctx))
		<-c.done
	}
	var none V
	return none, context.Cause(ctx)
}

// Shared runs work at most once at a time for each key: a caller that comes while
// the work runs gets the result of that run. The work goes on as long as one of the
// callers still waits. The zero value is ready.
type Shared[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
}

// Do returns what work returns, or the cause of ctx if that ends before. The
// context given to work bears the values of the first caller's.
func (s *Shared[K, V]) Do(ctx context.Context, key K, work func(context.Context) (V, error)) (V, error) {
	if ctx.Err() != nil {
		var none V
		return none, context.Cause(ctx)
	}
	s.mu.Lock()
	c := s.calls[key]
	if c == nil {
		if s.calls == nil {
			s.calls = map[K]*call[V]{}
		}
		c = newCall(ctx, work, func(V, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.forget(key, c)
		})
		s.calls[key] = c
	}
	c.waiters++
	s.mu.Unlock()
	return c.wait(ctx, &s.mu, func() { s.forget(key, c) })
}

// forget is called with mu held. Another run may have begun under the key.
func (s *Shared[K, V]) forget(key K, c *call[V]) {
	if s.calls[key] == c {
		delete(s.calls, key)
	}
}
