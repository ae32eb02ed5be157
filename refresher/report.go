package refresher

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Report is what a loop knows about its address, for `berth status`.
type Report struct {
	Address   string    // filled in by Set
	Owner     string    // "here", or the owner that was seen, empty if unknown
	LastCall  time.Time // end of the last attempt
	LastError string    // of the last attempt, empty if it went well
	Since     time.Time // since when it is here, zero while it is known not to be
	Claims    int       // writes made
	Thefts    int       // times it was found taken away
	Contested bool
}

// Here is the Owner of an address that points at this host.
const Here = "here"

// publish hands the report to its reader.
func (l *Loop) publish() {
	if l.Report != nil {
		l.Report(l.report)
	}
}

// waits tells that the address is not tried while another one tries whether the
// provider still refuses the account.
func (l *Loop) waits(reason string) {
	if l.report.LastError != "" {
		return // the address was refused itself, which was said
	}
	l.report.LastError = "not tried while the provider refuses another address: " + reason
	l.failing.Fail(notTried, errors.New(reason))
	l.publish()
}

// stolen records that the address was here and now is elsewhere.
func (l *Loop) stolen(taker string, now time.Time) {
	l.report.Thefts++
	l.Series.stolen()
	l.report.Since, l.pointed = time.Time{}, false
	l.report.Owner = taker
	fields := []zap.Field{zap.String("owner", taker), zap.Int("thefts", l.report.Thefts)}
	if !l.dispute.stolen(now) {
		l.Journal.Tell(stolen, fields...)
		return
	}
	l.report.Contested = true
	l.Series.contested(true)
	l.contested.Fail(contested, fmt.Errorf("%s took the address again", taker),
		append(fields, zap.Duration("wait", l.dispute.wait(l.Policy.InitialInterval, l.Policy.Interval)))...)
}

// failed tells a failure, once per distinct text and once more when it has proved to
// be permanent. due is when the next attempt is.
func (l *Loop) failed(err error, class Class, retry *retry, previous string, due time.Duration, attempt int) {
	l.report.LastError = err.Error()
	if previous != "" {
		l.report.Owner = previous
	}
	if class == NotFound && retry.leftAlone && !l.wasHere {
		l.Series.leftAlone(true)
	}
	l.publish()
	kind := notYet
	switch {
	case class == NotFound && retry.leftAlone:
		kind = leftAlone
	case class == NotFound:
		kind = missing
	case class.refusal() && retry.permanent:
		kind = refused
	}
	if l.Unproven {
		kind.Over = "" // the address does not point here then, either
	}
	l.failing.Fail(kind, err, zap.Stringer("class", class), zap.Int("attempt", attempt), zap.Duration("wait", due))
}

// succeeded tells what changed; a quiet refresh is not news.
func (l *Loop) succeeded(previous string, changed, taken bool, now time.Time, took time.Duration) {
	fields := []zap.Field{zap.Duration("took", took.Round(time.Microsecond))}
	if previous != "" {
		fields = append(fields, zap.String("previous", previous))
	}
	switch {
	case l.Unproven: // the target has said what it would do
	case l.failing.Holds(): // whose end says it
	case changed:
		l.Journal.Tell(pointsHere, fields...)
	case l.report.Since.IsZero():
		l.Journal.Tell(pointsHereAlready, fields...)
	default:
		l.Journal.Debug("floating IP still points here", fields...)
	}
	l.failing.Clear(fields...)
	l.report.LastError = ""
	if l.claimed.IsZero() {
		l.claimed = now // found here: settle checks count from the finding
	}
	if l.Unproven {
		l.publish()
		return
	}
	if l.report.Since.IsZero() {
		l.report.Since = now
	}
	l.pointed, l.wasHere = true, true
	l.Series.leftAlone(false)
	if !taken && l.dispute.over(now, l.dispute.wait(l.Policy.InitialInterval, l.Policy.Interval)) {
		l.report.Contested = false
		l.Series.contested(false)
		l.contested.Clear()
	}
	l.report.Owner = Here
	l.Series.succeeded(now)
	l.publish()
}
