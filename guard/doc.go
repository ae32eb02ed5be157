// Package guard gives the permission to act for an instance. Each requirement of acting
// for an instance is a Guard: the lock file, which keeps two berths of one host
// apart (FileLock), the ownership of the instance in etcd (package internal/fence), and
// the last word of the source of events before a write (LastWord). A chain of guards is
// a guard.
//
// # Checks before a write
//
// A guard ends the context that it hands down when its permission ends. That is not
// enough for a write to the outside, as the process may not have been run for a while;
// so the permit is checked right before each write. The checks of a chain are made from
// the innermost guard to the outermost: a guard whose check can take time comes last in
// the chain and is checked first, the lease, whose check asks the clocks, is checked
// last, and nothing but a check of the contexts stands between its check and the write.
//
// # Adding a guard
//
// A guard is a type with the method While, in this package or, if it needs to know
// more than files, in a package of its own. While waits until the condition of the guard
// holds, calls act under a context that it cancels with a cause when the condition ends,
// waits until act has returned, and waits for the condition again. A guard that pauses an
// instance would be, with functions of its own that wait and watch:
//
//	func (g *Pause) While(ctx context.Context, instance string, act Act) error {
//		for {
//			if err := g.wait(ctx, instance); err != nil {
//				return err // the cause of the end of ctx
//			}
//			allowed, end := context.WithCancelCause(ctx)
//			stop := g.watch(instance, func() { end(ErrPaused) })
//			err := act(allowed, NewPermit(allowed))
//			stop()
//			end(nil)
//			if ctx.Err() != nil || !errors.Is(err, ErrPaused) {
//				return err
//			}
//		}
//	}
//
// internal/app puts the chain of each mode together. A pause would stand inside the lock
// and outside the lease, because a host that is paused must not own the instance.
package guard
