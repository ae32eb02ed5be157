package instance

import "context"

// holding is the time between becoming and ceasing to be MASTER. It must be
// gone before the next one starts.
type holding struct {
	cancel context.CancelCauseFunc
	verify chan struct{}
	done   chan struct{}
	err    error // set before done is closed
}

// startHolding runs hold under a context of its own. The caller calls stop, which
// waits for the end of hold.
func startHolding(ctx context.Context, instance string, hold Hold) *holding {
	ctx, cancel := context.WithCancelCause(ctx)
	h := &holding{cancel: cancel, verify: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(h.done)
		h.err = hold(ctx, instance, h.verify)
	}()
	return h
}

// verifyNow asks for a check of who owns the addresses. It never blocks.
func (h *holding) verifyNow() {
	select {
	case h.verify <- struct{}{}:
	default: // asked for already
	}
}

// stop ends the holding with a cause, waits for its end and returns its error.
func (h *holding) stop(cause error) error {
	h.cancel(cause)
	<-h.done
	return h.err
}
