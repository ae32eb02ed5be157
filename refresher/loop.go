package refresher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/journal"
)

// Target is one address at one place where it can be pointed here.
type Target interface {
	// Ensure makes the address point here. With claimFirst it writes without an
	// observation, because nothing may stand before the first claim; without, it
	// observes first and writes only a difference. It returns the owner of an
	// address that was found elsewhere ("" if the address had no owner or that is
	// not known), and whether it wrote. After a write it has read the owner back:
	// nil means that the address is here. It must be idempotent, end soon after
	// its context, and check the permit right before each write.
	Ensure(ctx context.Context, claimFirst bool) (previous string, changed bool, err error)
	// Close ends the target's use. Nothing else is called after it.
	Close()
}

// settle is when, after a claim, the owner is observed again: a rival that claimed
// at the same moment shows within seconds, not at the next refresh.
var settle = []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second}

// verifySpacing is the least time between two attempts that were asked for by
// events; keepalived can ask once per advert.
const verifySpacing = 2 * time.Second

// Loop keeps one target. Use it for one Run.
type Loop struct {
	Target Target
	Policy Policy
	Pace   *Pace           // shared by the loops of a process; nil for one of its own
	Gate   *Gate           // shared by the loops of an account; nil for one of its own
	Verify <-chan struct{} // asks for an observation now; may be nil
	Report func(Report)    // called after each attempt; may be nil
	Series *Series         // may be nil
	// Supposed tells that the address is supposed to be here already: the first attempt
	// observes, and claims only what is not here. It has supposedTimeout, if that is longer
	// than the timeout of the policy: an observation can need several calls. Where it cannot
	// observe, the next attempt is a claim without an observation, as the first of other loops.
	Supposed bool
	// Unproven tells that an attempt that goes well says nothing about where the
	// address is: the target only prints what it would do, or there is no provider.
	Unproven bool
	Journal  *journal.Journal // may be nil

	report    Report
	claimed   time.Time // end of the last claim
	attempted time.Time // end of the last attempt
	pointed   bool      // it was found here, or elsewhere right after a claim was accepted
	wasHere   bool      // the address was here in this holding
	dispute   dispute
	failing   *journal.Condition // the one thing that is wrong with the address
	contested *journal.Condition
}

// supposedTimeout is the least time that the first attempt of a Supposed loop has.
const supposedTimeout = 2 * time.Minute

// Run claims the address and keeps it here until ctx ends. It returns the
// cause of the context's end and nothing else.
func (l *Loop) Run(ctx context.Context) error {
	if l.Journal == nil {
		l.Journal = journal.New(nil)
	}
	if l.Pace == nil {
		l.Pace = &Pace{Interval: l.Policy.Interval}
	}
	if l.Gate == nil {
		l.Gate = &Gate{}
	}
	if l.Unproven {
		l.Series = nil // nothing points here
	}
	l.failing, l.contested = l.Journal.Condition(), l.Journal.Condition()
	defer l.failing.Drop()
	defer l.contested.Drop()
	l.Series.begin()
	defer l.Series.end()
	pass := l.Gate.join(l.Policy)
	defer pass.leave()
	retry := newRetry(l.Policy)
	claimFirst := !l.Supposed
	for attempt := 1; ; attempt++ {
		if !pass.enter(ctx, l.waits) {
			return context.Cause(ctx)
		}
		var wait time.Duration
		wait, claimFirst = l.attempt(ctx, pass, retry, claimFirst, attempt)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if l.report.LastError == "" {
			attempt = 0
			retry.reset()
		}
		if !l.sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// attempt makes one attempt and returns the wait before the next, and whether the
// next is a claim without an observation: only while no claim has got through yet.
func (l *Loop) attempt(ctx context.Context, pass *pass, retry *retry, claimFirst bool, number int) (time.Duration, bool) {
	limit, text := l.Policy.Timeout, "no success within the refresh timeout of %v"
	if l.Supposed && l.attempted.IsZero() && limit < supposedTimeout {
		limit, text = supposedTimeout, "no success of the first observation within %v"
	}
	tryCtx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf(text, limit))
	defer cancel()
	start := time.Now()
	unclaimed := claimFirst || (l.Supposed && l.attempted.IsZero()) // no claim has got through yet
	previous, changed, err := l.Target.Ensure(tryCtx, claimFirst)
	now := time.Now()
	l.attempted = now
	if !l.Unproven {
		l.report.LastCall = now
	}
	if stopped(ctx, err) {
		return 0, false
	}
	taken := previous != "" && l.pointed
	if taken {
		l.stolen(previous, now)
	}
	if changed {
		l.report.Claims++
		l.Series.claimed()
		l.claimed = now
		// A rival can be quicker than the observation that follows a claim, so that
		// the address is never seen here. If the next observation shows the same, no
		// late answer of the API was to blame.
		l.pointed = l.pointed || takenBy(err) != ""
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && tryCtx.Err() != nil {
			err = fmt.Errorf("%w (%w)", context.Cause(tryCtx), err)
		}
		class, retryAfter := Classify(err)
		wait, due := l.pause(pass, retry, class, retryAfter, err, now)
		l.failed(err, class, retry, previous, due, number)
		return wait, unclaimed && !changed && class != NotFound
	}
	pass.passed()
	l.succeeded(previous, changed, taken, now, now.Sub(start))
	return l.next(now), false
}

// pause returns how long the loop waits after a failure before it is ready for the
// next attempt, and when that is expected: while the gate is shut, the gate says.
func (l *Loop) pause(pass *pass, retry *retry, class Class, retryAfter time.Duration, err error, now time.Time) (wait, due time.Duration) {
	wait = retry.next(class, retryAfter, now)
	due = wait
	switch class {
	case Auth:
		// An address that is refused for a reason of its own, again and again, slows
		// down by itself.
		if shut, probe, own := pass.refuse(err.Error(), now); shut && !(own && retry.permanent) {
			wait, due = 0, probe
		}
	case NotFound:
		pass.passed() // the provider accepted the account, else it could not tell
		if retry.leftAlone {
			wait = l.Pace.until(now) // only an observation, which the others share
			due = wait
		}
	default:
		pass.fail(class, retryAfter, now)
	}
	if l.dispute.contested() {
		wait = max(wait, l.dispute.wait(l.Policy.InitialInterval, l.Policy.Interval))
		due = max(wait, due)
	}
	return wait, due
}

// next returns the wait after a success: until the next settle check, that between
// two claims of a contested address, or the refresh interval.
func (l *Loop) next(now time.Time) time.Duration {
	if l.dispute.contested() {
		return l.dispute.wait(l.Policy.InitialInterval, l.Policy.Interval)
	}
	for _, after := range settle {
		if wait := l.claimed.Add(after).Sub(now); wait > 0 && after < l.Policy.Interval {
			return wait
		}
	}
	return l.Pace.until(now)
}

// sleep waits, at most until an observation is asked for, and reports false when ctx
// ended. No event shortens the wait while the address is contested or an attempt has
// failed; that is what backing off means.
func (l *Loop) sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	end := time.Now().Add(wait)
	verify := l.Verify
	if l.dispute.contested() || l.report.LastError != "" {
		verify = nil
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-verify:
			// One observation serves all that ask within the spacing.
			verify = nil
			if at := l.attempted.Add(verifySpacing); at.Before(end) {
				timer.Reset(time.Until(at))
			}
		}
	}
}
