package refresher

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Policy is how attempts are spaced.
type Policy struct {
	Interval time.Duration // between refreshes of an address that is here
	Timeout  time.Duration // of one attempt

	// Back-off after failures, before the jitter of 50 % that backoff adds.
	InitialInterval time.Duration
	Multiplier      float64
	MaxInterval     time.Duration
	MaxElapsedTime  time.Duration // then back to Interval; 0: never
}

// maxRetryAfter bounds what a provider can ask for. Retry-After is honoured,
// but a proxy's "come back tomorrow" must not decide an outage.
const maxRetryAfter = 10 * time.Minute

// retry spaces the attempts of one run of failures.
type retry struct {
	policy  Policy
	backOff *backoff.ExponentialBackOff
}

func newRetry(p Policy) *retry {
	return &retry{policy: p, backOff: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.InitialInterval),
		backoff.WithMultiplier(p.Multiplier),
		backoff.WithMaxInterval(p.MaxInterval),
		backoff.WithMaxElapsedTime(p.MaxElapsedTime),
	)}
}

// reset begins a new run of failures.
func (r *retry) reset() { r.backOff.Reset() }

// next returns the wait after a failure of the class.
func (r *retry) next(class Class, retryAfter time.Duration) time.Duration {
	switch class {
	case Permanent, Auth:
		return jittered(r.policy.Interval)
	}
	wait := r.backOff.NextBackOff()
	if wait == backoff.Stop {
		wait = jittered(r.policy.Interval)
	}
	return max(wait, min(retryAfter, maxRetryAfter))
}
