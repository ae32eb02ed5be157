package refresher

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// Prepare has a provider look up, while there is time, what its first claim needs:
// a look-up must not stand before that. It calls lookUp until it succeeds, with the
// back-off of a host that has nothing to do in a hurry; a refusal and an account
// without floating IPs are believed as a Loop believes them, and the latter ends the
// attempts, because the claim itself looks up what is missing. It returns nil, or
// the cause of ctx.
func Prepare(ctx context.Context, p Policy, lookUp func(context.Context) error, log *zap.Logger) error {
	if log == nil {
		log = zap.NewNop()
	}
	p.InitialInterval, p.Multiplier, p.MaxInterval, p.MaxElapsedTime = min(p.InitialInterval, time.Second), 1.5, p.Interval, 0
	retry := newRetry(p)
	failed := false
	for {
		tryCtx, cancel := context.WithTimeout(ctx, p.Timeout)
		err := lookUp(tryCtx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && failed:
			log.Info("looked up what the first claim needs")
			return nil
		case err == nil:
			return nil
		}
		class, retryAfter := Classify(err)
		wait := retry.next(class, retryAfter, time.Now())
		if retry.alone {
			log.Warn("cannot look up what the first claim needs; it will look itself", zap.Error(err))
			return nil
		}
		if !failed {
			log.Warn("cannot look up yet what the first claim needs; trying again", zap.Error(err), zap.Duration("wait", wait))
		}
		failed = true
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
	}
}
