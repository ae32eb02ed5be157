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

const (
	// A gateway that is being deployed refuses what it would accept a second
	// later. A refusal is therefore tried again by the back-off, and counts as
	// permanent when it has lasted for trialPeriod or trialAttempts attempts.
	trialPeriod   = 3 * time.Minute
	trialAttempts = 40

	// An address is left alone when missingAnswers answers in a row, the last at
	// least missingPeriod after the first, say that it is not a floating IP of the
	// account: a list can be empty once.
	missingAnswers = 3
	missingPeriod  = 5 * time.Second
)

// retry spaces the attempts of one run of failures.
type retry struct {
	policy  Policy
	backOff *backoff.ExponentialBackOff

	refusals     int // attempts that were refused, in this run of failures
	firstRefusal time.Time
	permanent    bool // refused for so long that it is not expected to pass

	missing      int // answers in a row that the address is not one of the account
	firstMissing time.Time
	leftAlone    bool // the address is left alone
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
func (r *retry) reset() {
	r.backOff.Reset()
	*r = retry{policy: r.policy, backOff: r.backOff}
}

// next returns the wait after a failure of the class that was seen now.
func (r *retry) next(class Class, retryAfter time.Duration, now time.Time) time.Duration {
	if class != NotFound {
		r.missing = 0
	} else {
		if r.missing++; r.missing == 1 {
			r.firstMissing = now
		}
		r.leftAlone = r.leftAlone || r.missing >= missingAnswers && now.Sub(r.firstMissing) >= missingPeriod
	}
	if class.refusal() {
		return r.refused(now)
	}
	return max(r.pause(), min(retryAfter, maxRetryAfter))
}

// refused returns the wait after a refusal. If the configured back-off is so quick
// that the attempts would be used up early, the later half of them is spread over
// the rest of the period.
func (r *retry) refused(now time.Time) time.Duration {
	if r.refusals++; r.refusals == 1 {
		r.firstRefusal = now
	}
	lasted := now.Sub(r.firstRefusal)
	r.permanent = r.permanent || r.refusals >= trialAttempts || lasted >= trialPeriod
	if r.permanent || r.leftAlone {
		return jittered(r.policy.Interval)
	}
	wait := r.pause()
	if r.refusals > trialAttempts/2 {
		wait = max(wait, (trialPeriod-lasted)/time.Duration(trialAttempts-r.refusals))
	}
	return wait
}

// pause returns the next wait of the back-off or, if that is over, the interval.
func (r *retry) pause() time.Duration {
	if wait := r.backOff.NextBackOff(); wait != backoff.Stop {
		return wait
	}
	return jittered(r.policy.Interval)
}
