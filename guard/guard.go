package guard

import "context"

// Guard decides when an instance may be acted for.
type Guard interface {
	// While calls act whenever the instance may be acted for: once, or again after
	// the permission was lost and has come back. The context that act gets descends
	// from ctx and ends, with a cause, when the permission does; act then returns
	// soon, and the guard gives up what it has only after that.
	//
	// While returns after ctx has ended and act has returned, with the cause, or
	// after act has returned by itself, with its error; it then has given up
	// everything. If act was not called, another error says why there is no
	// permission now; the caller may try again. Calls for several instances may run
	// at the same time.
	While(ctx context.Context, instance string, act Act) error
}

// Act is what is done while there is a permission. It returns soon after ctx has
// ended, and checks the permit right before each write to the outside.
type Act func(ctx context.Context, p *Permit) error

// Chain returns the guard that gives permission while all of the given ones do. The
// first is the outermost: it is asked first and gives up last, and the others are asked
// while it gives permission. Its check is made last, see the comment of the package.
// Without guards the permission is always given.
func Chain(guards ...Guard) Guard { return chain(guards) }

type chain []Guard

func (c chain) While(ctx context.Context, instance string, act Act) error {
	if len(c) == 0 {
		return act(ctx, NewPermit(ctx))
	}
	return c[0].While(ctx, instance, func(ctx context.Context, outer *Permit) error {
		return c[1:].While(ctx, instance, func(ctx context.Context, inner *Permit) error {
			return act(ctx, inner.and(outer))
		})
	})
}
