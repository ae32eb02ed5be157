package guard

import "context"

// LastWord is the guard that the newest event of the source is. A process that was
// stopped, or that a busy machine has not run for a while, may make a write before it
// reads the event that forbids the write; so waiting events are taken before each write.
// The check can take time, so this guard comes last in a chain.
type LastWord struct {
	// CatchUp returns after every event that waited when it was called has been taken,
	// or when ctx ends. Where none waits it returns at once.
	CatchUp func(ctx context.Context)
	// IsMaster reports whether the newest event that was taken makes the instance
	// MASTER.
	IsMaster func(instance string) bool
}

// While calls act once. Where an event has ended the state MASTER, the check waits for
// the end of its context, which that event brings about, and returns the cause.
func (g *LastWord) While(ctx context.Context, instance string, act Act) error {
	return act(ctx, NewPermit(ctx, func(ctx context.Context) error {
		g.CatchUp(ctx)
		if g.IsMaster(instance) {
			return nil
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}))
}
