package guard

import (
	"context"
	"slices"
	"time"
)

// Permit is the permission to act. Its context is the permission itself: when it ends,
// the permission has ended, and the cause says why.
type Permit struct {
	ctx    context.Context
	checks []Check // in the order in which they are made
}

// Check returns nil while a permission stands, and else why it does not. It may wait,
// but not after ctx has ended.
type Check func(ctx context.Context) error

// NewPermit returns the permit of a guard: it ends with ctx, and the checks, in this
// order, must return nil right before each write.
func NewPermit(ctx context.Context, checks ...Check) *Permit {
	return &Permit{ctx: ctx, checks: checks}
}

// and returns the permit that needs outer too, whose checks are made afterwards. The
// context of p descends from that of outer.
func (p *Permit) and(outer *Permit) *Permit {
	if len(outer.checks) == 0 {
		return p
	}
	return NewPermit(p.ctx, slices.Concat(p.checks, outer.checks)...)
}

// Check returns nil while the permission stands, and else a *FencedError with the
// cause. Call it immediately before each write to the outside, with the context of the
// write. It may be called by several goroutines at once.
func (p *Permit) Check(ctx context.Context) error {
	for _, check := range p.checks {
		if err := p.ended(ctx); err != nil {
			return err
		}
		if err := check(ctx); err != nil {
			return &FencedError{Cause: err}
		}
	}
	return p.ended(ctx)
}

func (p *Permit) ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return &FencedError{Cause: context.Cause(ctx)}
	}
	if p.ctx.Err() != nil {
		return &FencedError{Cause: context.Cause(p.ctx)}
	}
	return nil
}

// FencedError says that the permission to act has ended.
type FencedError struct{ Cause error }

// RefreshClass tells refresher that nothing but the permission is missing.
func (e *FencedError) RefreshClass() string { return "fenced" }

// RetryAfter is 0: no server asked to wait.
func (e *FencedError) RetryAfter() time.Duration { return 0 }

// Error names the cause.
func (e *FencedError) Error() string { return "no permission to act: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *FencedError) Unwrap() error { return e.Cause }
