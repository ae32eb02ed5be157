package refresher

import (
	"context"
	"time"

	"go.uber.org/zap"

	"berth/internal/journal"
)

// Prepare has a provider look up, while there is time, what its first claim needs:
// a look-up must not stand before the claim. It calls lookUp until that succeeds,
// with the back-off of a host that is not in a hurry; a refusal and an account
// without floating IPs are believed as a Loop believes them, and the latter ends the
// attempts, because the claim itself looks up what is missing. It returns nil, or
// the cause of ctx. A nil journal says nothing.
func Prepare(ctx context.Context, p Policy, lookUp func(context.Context) error, j *journal.Journal) error {
	if j == nil {
		j = journal.New(nil)
	}
	p.InitialInterval, p.Multiplier, p.MaxInterval, p.MaxElapsedTime = min(p.InitialInterval, time.Second), 1.5, p.Interval, 0
	retry := newRetry(p)
	failing := j.Condition()
	defer failing.Drop()
	for {
		tryCtx, cancel := context.WithTimeout(ctx, p.Timeout)
		err := lookUp(tryCtx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			failing.Clear()
			return nil
		}
		class, retryAfter := Classify(err)
		wait := retry.next(class, retryAfter, time.Now())
		if retry.leftAlone {
			j.Tell(leftToTheClaim, zap.Error(err))
			return nil
		}
		failing.Fail(unprepared, err, zap.Duration("wait", wait))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}
