package refresher

import (
	"context"
	"errors"
	"time"
)

// Class is the closed set of things that a failed attempt can mean for the
// next one.
type Class uint8

const (
	// Transient failures follow the back-off.
	Transient Class = iota
	// RateLimited failures follow the back-off, but wait at least as long as
	// the provider asked.
	RateLimited
	// Permanent failures are refusals that, once they have lasted, only a person can
	// mend: they follow the back-off for trialPeriod, and then they are errors in the
	// log and tried again each refresh interval.
	Permanent
	// Auth is Permanent for the whole account, with a credential as the cure. One
	// address tries for all, see Gate.
	Auth
	// NotFound means that the address is not a floating IP of the account. After
	// missingAnswers such answers the address is left alone: that is reported once,
	// and the address is observed again each refresh interval, because it may become
	// one.
	NotFound
	// Fenced means that the permit to act is gone. The loop tries again at the
	// back-off's pace; only the permit's return lets it act.
	Fenced
)

var classNames = [...]string{"transient", "rate-limited", "permanent", "auth", "not-found", "fenced"}

// String returns the name used in logs.
func (c Class) String() string { return classNames[c] }

// refusal reports whether failures of the class are answers that would stay the
// same if they were right.
func (c Class) refusal() bool { return c == Permanent || c == Auth || c == NotFound }

// classed is what an error offers to tell its class, without its package and
// this one knowing each other.
type classed interface {
	error
	RefreshClass() string
	RetryAfter() time.Duration
}

// Classify returns the class of err and how long its provider asked to wait. An
// error that does not tell its class is Transient: trying again is the safe guess.
func Classify(err error) (Class, time.Duration) {
	c, ok := errors.AsType[classed](err)
	if !ok {
		return Transient, 0
	}
	switch c.RefreshClass() {
	case "rate-limited":
		return RateLimited, c.RetryAfter()
	case "auth":
		return Auth, 0
	case "invalid":
		return Permanent, 0
	case "not-found":
		return NotFound, 0
	case "fenced":
		return Fenced, 0
	}
	return Transient, c.RetryAfter()
}

// taken is what an error offers that tells of a claim which was accepted, and of
// another owner right after it.
type taken interface {
	error
	TakenBy() string
}

// takenBy returns the owner of an address that was pointed here a moment before, ""
// if err does not tell.
func takenBy(err error) string {
	if t, ok := errors.AsType[taken](err); ok {
		return t.TakenBy()
	}
	return ""
}

// stopped reports whether err is only the echo of a context that ended.
func stopped(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() != nil
}
