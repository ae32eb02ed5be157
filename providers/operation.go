package providers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"
)

// maxUnanswered is Operation.Unanswered where that is 0.
const maxUnanswered = 5

// ErrOutcomeUnknown tells that the API does not say how an operation ended: it does
// not know the operation any more, or does not answer. The state of what the
// operation was to change has to be read instead.
var ErrOutcomeUnknown = errors.New("the outcome of the operation is not known")

// Progress is how far an operation is.
type Progress struct {
	Running bool
	Unknown bool   // the API says neither that it runs nor how it ended
	Failed  bool   // it ended without success
	Kind    Kind   // of the failure
	Reason  string // of the failure, in the words of the API
}

// Operation is a change that the API has accepted and carries out later.
type Operation struct {
	Op string // what was accepted, such as "assign floating IP"; for errors
	// First is how long after its acceptance the operation is asked for; each
	// further question comes after twice as long, Longest at most.
	First, Longest time.Duration
	// Unanswered is how many questions must fail in a row for the outcome to count as
	// unknown; 0 means 5.
	Unanswered int
	// Ask asks the API once.
	Ask func(context.Context) (Progress, error)
}

// Await asks for an operation, of which the answer that accepted it told begun,
// until it is over. It returns nil if it succeeded, and a *Error with the reason of
// the API if it failed; ErrOutcomeUnknown if that cannot be told; and the error of
// Ask where asking again would make it worse: the API refuses the credentials, or has
// asked berth to wait (Error.Wait). ctx bounds the wait: when it ends, its cause is
// in the error. After all errors but those of a failed operation the change may have
// been made, or may still be.
func (c *Caller) Await(ctx context.Context, o Operation, begun Progress) error {
	now, asked, gap, unanswered := begun, time.Now(), o.First, 0
	for now.Running {
		wait := time.NewTimer(time.Until(asked.Add(gap)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return EndedError(ctx, c.provider, o.Op)
		}
		asked, gap = time.Now(), min(2*gap, o.Longest)
		next, err := o.Ask(ctx)
		e, _ := errors.AsType[*Error](err)
		switch {
		case err == nil:
			now, unanswered = next, 0
		case e != nil && e.Status == http.StatusNotFound:
			return ErrOutcomeUnknown
		case e == nil || e.Kind == Auth || e.Kind == RateLimited || ctx.Err() != nil:
			return err
		default:
			if unanswered++; unanswered == cmp.Or(o.Unanswered, maxUnanswered) {
				return ErrOutcomeUnknown
			}
		}
	}
	switch {
	case now.Unknown:
		return ErrOutcomeUnknown
	case now.Failed:
		return c.Refused(o.Op, now.Kind, now.Reason)
	}
	return nil
}
