package holding

import (
	"context"
	"time"

	"berth/internal/journal"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"
)

// attempts are those at something without which an instance cannot be held. A host that
// is MASTER does not give up.
type attempts struct {
	*run
	kind      journal.Kind
	passing   func(error) bool
	spacing   *backoff.ExponentialBackOff
	condition *journal.Condition
	// failing spares the way to a first claim the lock of the journal, for which all
	// instances of a burst would wait.
	failing bool
}

func (r *run) attempts(k journal.Kind, passing func(error) bool) *attempts {
	return &attempts{run: r, kind: k, passing: passing, condition: r.journal.Condition(),
		spacing: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(r.Retry.InitialInterval),
			backoff.WithMultiplier(r.Retry.Multiplier),
			backoff.WithMaxInterval(r.Retry.MaxInterval),
			backoff.WithMaxElapsedTime(0),
		)}
}

// failed returns nil when it is time for the next attempt, or why there is none: the
// cause of ctx's end, or the failure itself if only a person can mend it.
func (a *attempts) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if a.Impatient && (a.passing == nil || !a.passing(err)) {
		return err
	}
	wait := a.spacing.NextBackOff()
	a.failing = true
	a.condition.Fail(a.kind, err, zap.Duration("wait", wait))
	a.Status.Blocked(a.instance, err.Error())
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(wait):
		return nil
	}
}

// succeeded tells that the attempts are over; later ones are spaced anew.
func (a *attempts) succeeded() {
	if a.failing {
		a.Status.Blocked(a.instance, "")
	}
	a.end()
	a.spacing.Reset()
}

// end ends the attempts, whether or not one has succeeded.
func (a *attempts) end() {
	if a.failing {
		a.failing = false
		a.condition.Clear()
	}
}
