// Package guard gives permission to act for an instance: the lock file, which
// keeps two berths on one host from acting for the same instance, and beside it
// whatever fence a caller puts up, such as a lease in etcd. Every write to the
// outside is preceded by a look at the permit.
package guard

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Permit is the permission to act. Its context is the permission itself: when
// it ends, the permission has ended, and the cause says why.
type Permit struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	check   func() error // nil: the context says it all
	files   []string
	release func() error
	once    sync.Once
}

func newPermit(ctx context.Context, release func() error) *Permit {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Permit{ctx: ctx, cancel: cancel, release: release}
}

// Unlocked returns a permit that nothing backs but ctx, for what has another guard
// than a lock file.
func Unlocked(ctx context.Context) *Permit {
	return newPermit(ctx, func() error { return nil })
}

// Fenced returns a permit that needs more than p: it ends with ctx, which must
// descend from p's, and check must return nil at each write. Releasing it leaves
// p as it is.
func (p *Permit) Fenced(ctx context.Context, check func() error) *Permit {
	f := newPermit(ctx, func() error { return nil })
	f.check = check
	return f
}

// Also adds to what is given back by Release. Call it before that.
func (p *Permit) Also(release func() error) {
	former := p.release
	p.release = func() error { return errors.Join(release(), former()) }
}

// Files returns the paths of the lock files that are held, none if none could be
// used.
func (p *Permit) Files() []string { return p.files }

// Context returns the context to work under.
func (p *Permit) Context() context.Context { return p.ctx }

// Check returns nil while the permission stands. Call it immediately before
// each write to the outside.
func (p *Permit) Check(ctx context.Context) error {
	if ctx.Err() != nil {
		return &FencedError{Cause: context.Cause(ctx)}
	}
	if p.ctx.Err() != nil {
		return &FencedError{Cause: context.Cause(p.ctx)}
	}
	if p.check != nil {
		if err := p.check(); err != nil {
			return &FencedError{Cause: err}
		}
	}
	return nil
}

// Release gives the permission back. It may be called more than once.
func (p *Permit) Release(cause error) error {
	var err error
	p.once.Do(func() {
		p.cancel(cause)
		err = p.release()
	})
	return err
}

// FencedError says that the permission to act has ended.
type FencedError struct{ Cause error }

// RefreshClass tells refresher that nothing but the permission is missing.
func (e *FencedError) RefreshClass() string { return "fenced" }

// RetryAfter is 0: nobody asked to wait.
func (e *FencedError) RetryAfter() time.Duration { return 0 }

// Error names the cause.
func (e *FencedError) Error() string { return "no permission to act: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *FencedError) Unwrap() error { return e.Cause }
