package refresher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Target is one address at one place where it can be pointed here.
type Target interface {
	// Ensure makes the address point here. With claimFirst it writes without
	// looking, because nothing may stand before the first claim; without, it
	// looks first and writes only a difference. It returns who had the
	// address when it was found elsewhere ("" for nobody and for unknown),
	// and whether it wrote. After a write it has read the owner back: nil
	// means that the address is here. It must be idempotent, end soon after
	// its context, and check the permit right before each write.
	Ensure(ctx context.Context, claimFirst bool) (previous string, changed bool, err error)
	// Close ends the target's use. Nothing else is called after it.
	Close()
}

// Report is what a loop knows about its address, for `berth status`.
type Report struct {
	Address   string    // filled in by Set
	Owner     string    // "here", or who was seen, empty if unknown
	LastCall  time.Time // end of the last attempt
	LastError string    // of the last attempt, empty if it went well
	Since     time.Time // since when it is here, zero while it is known not to be
	Claims    int       // writes made
	Thefts    int       // times it was found taken away
	Contested bool
}

// Here is the Owner of an address that points at this host.
const Here = "here"

// settle is when, after a claim, the owner is looked at again: a rival that
// claimed at the same moment shows within seconds, not at the next refresh.
var settle = []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second}

// verifySpacing is the least time between two looks that were asked for by
// events; keepalived can ask once per advert.
const verifySpacing = 2 * time.Second

// Loop keeps one target. Use it for one Run.
type Loop struct {
	Target Target
	Policy Policy
	Pace   *Pace           // shared by the loops of a process; nil for one of its own
	Gate   *Gate           // shared by the loops of an account; nil for one of its own
	Verify <-chan struct{} // asks for a look now; may be nil
	Report func(Report)    // called after each attempt; may be nil
	Series *Series         // may be nil
	// Unproven tells that an attempt that goes well says nothing about where the
	// address is: the target only prints what it would do, or there is no provider.
	Unproven bool
	Log      *zap.Logger

	report   Report
	claimed  time.Time // end of the last claim
	pointed  bool      // it was found here, or elsewhere right after a claim was accepted
	wasHere  bool      // the address was here in this holding
	contest  contest
	lastLook time.Time
	failing  string // what was logged of the current failures
	failedAt time.Time
}

// Run claims the address and keeps it here until ctx ends. It returns the
// cause of the context's end and nothing else.
func (l *Loop) Run(ctx context.Context) error {
	if l.Log == nil {
		l.Log = zap.NewNop()
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
	l.Series.begin()
	defer l.Series.end()
	pass := l.Gate.join(l.Policy)
	defer pass.leave()
	retry := newRetry(l.Policy)
	claimFirst := true
	for attempt := 1; ; attempt++ {
		if !pass.enter(ctx, l.held) {
			return context.Cause(ctx)
		}
		var wait time.Duration
		wait, claimFirst = l.attempt(ctx, pass, retry, claimFirst, attempt)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if l.failing == "" {
			attempt = 0
			retry.reset()
		}
		if !l.sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// attempt makes one attempt and returns the wait before the next, and whether
// the next is a claim without a look: only while no claim has got through yet.
func (l *Loop) attempt(ctx context.Context, pass *pass, retry *retry, claimFirst bool, number int) (time.Duration, bool) {
	tryCtx, cancel := context.WithTimeoutCause(ctx, l.Policy.Timeout,
		fmt.Errorf("no success within the refresh timeout of %v", l.Policy.Timeout))
	defer cancel()
	start := time.Now()
	previous, changed, err := l.Target.Ensure(tryCtx, claimFirst)
	now := time.Now()
	l.lastLook = now
	if !l.Unproven {
		l.report.LastCall = now
	}
	if stopped(ctx, err) {
		return 0, false
	}
	stolen := previous != "" && l.pointed
	if stolen {
		l.theft(previous, now)
	}
	if changed {
		l.report.Claims++
		l.Series.claimed()
		l.claimed = now
		// A rival can be quicker than the look that follows a claim, so that the
		// address is never seen here. If the next look shows the same, no late
		// answer of the API was to blame.
		l.pointed = l.pointed || takenBy(err) != ""
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && tryCtx.Err() != nil {
			err = fmt.Errorf("%w (%w)", context.Cause(tryCtx), err)
		}
		class, retryAfter := Classify(err)
		wait, due := l.pause(pass, retry, class, retryAfter, err, now)
		l.failed(err, class, retry, previous, due, number)
		return wait, claimFirst && !changed && class != NotFound
	}
	pass.passed()
	l.succeeded(previous, changed, stolen, now, now.Sub(start))
	return l.next(now), false
}

// pause returns how long the loop waits after a failure before it is ready for the
// next attempt, and when that is expected: while the gate is shut, the gate says.
func (l *Loop) pause(pass *pass, retry *retry, class Class, retryAfter time.Duration, err error, now time.Time) (wait, due time.Duration) {
	wait = retry.next(class, retryAfter, now)
	due = wait
	switch class {
	case Auth:
		// What is refused for a reason of its own, again and again, slows down
		// by itself.
		if shut, probe, own := pass.refuse(err.Error(), now); shut && !(own && retry.permanent) {
			wait, due = 0, probe
		}
	case NotFound:
		pass.passed() // the account has told so
		if retry.alone {
			wait = l.Pace.until(now) // only a look, which the others share
			due = wait
		}
	default:
		pass.fail(class, retryAfter, now)
	}
	if l.contest.contested() {
		wait = max(wait, l.contest.wait(l.Policy.InitialInterval, l.Policy.Interval))
		due = max(wait, due)
	}
	return wait, due
}

// held tells that the address is not tried while another one tries whether the
// provider still refuses the account.
func (l *Loop) held(reason string) {
	if l.failing != "" {
		return // it was refused itself, and has said so
	}
	l.failing, l.failedAt = reason, time.Now()
	l.report.LastError = "not tried while the provider refuses another address: " + reason
	l.Log.Warn("not tried while the provider refuses another address; trying as soon as it does not", zap.String("reason", reason))
	l.publish()
}

// theft records that the address was here and now is elsewhere.
func (l *Loop) theft(thief string, now time.Time) {
	l.report.Thefts++
	l.Series.stolen()
	l.report.Since, l.pointed = time.Time{}, false
	l.report.Owner = thief
	if l.contest.stolen(now) {
		l.report.Contested = true
		l.Series.contest(true)
		l.Log.Error("floating IP is contested: another host also believes to be MASTER; check VRRP between the hosts",
			zap.String("owner", thief), zap.Int("thefts", l.report.Thefts),
			zap.Duration("wait", l.contest.wait(l.Policy.InitialInterval, l.Policy.Interval)))
		return
	}
	l.Log.Warn("floating IP was stolen", zap.String("owner", thief), zap.Int("thefts", l.report.Thefts))
}

// failed logs a failure, once per distinct text and once more when it has proved to
// be permanent. due is when the next attempt is.
func (l *Loop) failed(err error, class Class, retry *retry, previous string, due time.Duration, attempt int) {
	l.report.LastError = err.Error()
	if previous != "" {
		l.report.Owner = previous
	}
	if class == NotFound && retry.alone && !l.wasHere {
		l.Series.leftAlone(true)
	}
	l.publish()
	fields := []zap.Field{zap.Error(err), zap.Stringer("class", class), zap.Int("attempt", attempt), zap.Duration("wait", due)}
	news := err.Error()
	switch {
	case class == NotFound: // said by a claim or by a look, it is the same news
		news = fmt.Sprint(class, retry.alone)
	case class.refusal():
		news += fmt.Sprint(retry.permanent)
	}
	if l.failing == news {
		l.Log.Debug("attempt failed as before", fields...)
		return
	}
	if l.failing == "" {
		l.failedAt = time.Now()
	}
	l.failing = news
	switch {
	case class == NotFound && retry.alone:
		l.Log.Warn("address is left alone: no floating IP of the account", fields...)
	case class == NotFound:
		l.Log.Info("address seems to be no floating IP of the account; asking again", fields...)
	case class.refusal() && retry.permanent:
		l.Log.Error("cannot point floating IP here; trying again each refresh interval", fields...)
	default:
		l.Log.Warn("cannot point floating IP here yet; trying again", fields...)
	}
}

// succeeded logs what changed; a quiet refresh is not news.
func (l *Loop) succeeded(previous string, changed, stolen bool, now time.Time, took time.Duration) {
	if l.Unproven {
		l.failing, l.report.LastError = "", ""
		if l.claimed.IsZero() {
			l.claimed = now
		}
		l.publish() // the target has said what it would do
		return
	}
	fields := []zap.Field{zap.Duration("took", took.Round(time.Microsecond))}
	if previous != "" {
		fields = append(fields, zap.String("previous", previous))
	}
	switch {
	case l.failing != "":
		l.Log.Info("floating IP points here again after failures", append(fields, zap.Duration("after", now.Sub(l.failedAt)))...)
	case changed:
		l.Log.Info("floating IP points here", fields...)
	case l.report.Since.IsZero():
		l.Log.Info("floating IP points here already", fields...)
	default:
		l.Log.Debug("floating IP still points here", fields...)
	}
	l.failing = ""
	if l.report.Since.IsZero() {
		l.report.Since = now
	}
	if l.claimed.IsZero() {
		l.claimed = now // found here: settle checks count from the finding
	}
	l.pointed, l.wasHere = true, true
	l.Series.leftAlone(false)
	if !stolen && l.contest.over(now, l.contest.wait(l.Policy.InitialInterval, l.Policy.Interval)) {
		l.report.Contested = false
		l.Series.contest(false)
		l.Log.Info("floating IP is no longer contested")
	}
	l.report.Owner, l.report.LastError = Here, ""
	l.Series.succeeded(now)
	l.publish()
}

// next returns the wait after a success: the next settle check, the contest's
// pause, or the refresh interval.
func (l *Loop) next(now time.Time) time.Duration {
	if l.contest.contested() {
		return l.contest.wait(l.Policy.InitialInterval, l.Policy.Interval)
	}
	for _, after := range settle {
		if wait := l.claimed.Add(after).Sub(now); wait > 0 && after < l.Policy.Interval {
			return wait
		}
	}
	return l.Pace.until(now)
}

// sleep waits, or until a look is asked for, and reports false when ctx ended.
// While the address is contested nobody can shorten the wait; that is what
// backing off means.
func (l *Loop) sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	end := time.Now().Add(wait)
	verify := l.Verify
	if l.contest.contested() || l.failing != "" {
		verify = nil
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-verify:
			// One look serves all that ask within the spacing.
			verify = nil
			if at := l.lastLook.Add(verifySpacing); at.Before(end) {
				timer.Reset(time.Until(at))
			}
		}
	}
}

func (l *Loop) publish() {
	if l.Report != nil {
		l.Report(l.report)
	}
}
