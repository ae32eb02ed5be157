package patroni

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"

	"go.uber.org/zap"
)

// Options say what is followed.
type Options struct {
	Server Server
	Role   Role
	Name   string // of this host, for people
	// Renewed, which may be nil, is told when the end of the term has moved, and Moved,
	// which may be nil, when the owner may have changed. They must neither block nor call
	// the follower.
	Renewed, Moved func()
	Via            http.RoundTripper // replaces the network in tests; nil for the real one
	Metrics        *Metrics          // may be nil
	Journal        *journal.Journal  // nil tells nothing
}

// Follower knows whether this host has a role in Patroni's cluster. It is a
// condition.Condition, which holds while the host has the role, and an owner.Decider.
// Its methods may be called by several goroutines at once.
type Follower struct {
	o         Options
	via       http.RoundTripper
	where     string
	condition condition.Value
	first     chan struct{} // closed when an answer, or the end of the wait for one, has come
	asking    *journal.Condition

	mu      sync.Mutex
	term    *term     // nil while this host does not have the role
	last    *term     // the newest
	refused time.Time // when the newest no arrived
	known   bool      // whether this host has the role, or not
	reason  string    // why it does not, or why that is not known
	changed chan struct{}
}

// New returns a follower. It starts nothing and makes no request. An error is about the
// configuration.
func New(o Options) (*Follower, error) {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	for _, f := range []*func(){&o.Renewed, &o.Moved} {
		if *f == nil {
			*f = func() {}
		}
	}
	f := &Follower{o: o, via: o.Via, where: o.Server.URL + o.Role.path(), first: make(chan struct{}), changed: make(chan struct{}), reason: "waiting for Patroni"}
	f.o.Journal = o.Journal.With(zap.String("role", string(o.Role)))
	f.asking = f.o.Journal.Condition()
	f.condition.Set(false, f.reason)
	if f.via == nil {
		via, err := o.Server.transport()
		if err != nil {
			return nil, err
		}
		f.via = via
	}
	return f, nil
}

// State is that of condition.Condition.
func (f *Follower) State() (holds bool, reason string) { return f.condition.State() }

// Watch is that of condition.Condition.
func (f *Follower) Watch(changed func()) (stop func()) { return f.condition.Watch(changed) }

// End returns the moment by which every address must be gone; one in the past where this
// host does not have the role.
func (f *Follower) End() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil || f.last.ctx.Err() != nil && f.term == nil {
		return time.Time{}
	}
	return f.last.sent.end()
}

// answer is what came of a request.
type answer struct {
	sent moment
	err  error // as of ask
}

// poll is the state of Run.
type poll struct {
	f       *Follower
	next    *time.Timer // until the next request
	silence *time.Timer // until Patroni has said nothing for too long
	newest  time.Time   // when the newest request was sent
	counted time.Time   // when the newest request was sent of those that were answered
	open    int         // requests since the newest answer
	none    error       // why there is none
}

// Run asks Patroni until ctx ends, and returns the cause.
func (f *Follower) Run(ctx context.Context) error {
	f.o.Metrics.begin(f.o.Role)
	attempts, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	defer func() {
		if t := f.standing(); t != nil {
			t.cancel(context.Cause(ctx))
		}
	}()
	defer f.asking.Drop()
	p := &poll{f: f, next: time.NewTimer(0), silence: time.NewTimer(patience), none: errors.New("no answer")}
	defer p.next.Stop()
	defer p.silence.Stop()
	answers := make(chan answer)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.next.C:
			sent := p.begin()
			running.Go(func() {
				ask(attempts, f.via, f.where, func(err error) {
					select {
					case answers <- answer{sent, err}:
					case <-attempts.Done():
					}
				})
			})
		case a := <-answers:
			p.answered(a)
		case <-p.silence.C:
			p.silent()
		}
	}
}

// begin notes that a request is sent.
func (p *poll) begin() moment {
	// After a suspension, for which the timer of the silence does not account.
	if t := p.f.standing(); t != nil && t.Check() != nil {
		p.silent()
	}
	if p.open > 0 {
		p.fail(p.none)
	}
	p.open++
	p.next.Reset(p.f.hurry())
	sent := now()
	p.newest = sent.Time
	return sent
}

// answered takes what came of a request.
func (p *poll) answered(a answer) {
	f := p.f
	yes, no := a.err == nil, errors.Is(a.err, errNo)
	switch {
	case !yes && !no:
		f.o.Metrics.answered(f.o.Role, "none")
		// A failure tells nothing if its request was sent before one that was answered.
		if a.sent.After(p.counted) {
			p.none = a.err
			p.fail(a.err)
		}
		return
	case yes:
		f.o.Metrics.answered(f.o.Role, "yes")
		if !f.confirm(a.sent) {
			return
		}
	case no:
		f.o.Metrics.answered(f.o.Role, "no")
		f.refuse()
	}
	if a.sent.After(p.counted) {
		p.counted = a.sent.Time
	}
	p.open, p.none = 0, errors.New("no answer")
	p.next.Reset(time.Until(latest(p.counted.Add(interval), p.newest.Add(retry))))
	p.silence.Reset(time.Until(p.counted.Add(patience)))
	if isOdd(a.err) {
		f.asking.Fail(unusable, a.err, zap.String("url", f.where))
		return
	}
	f.asking.Clear(zap.String("url", f.where))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *poll) fail(err error) {
	p.f.asking.Fail(unanswered, err, zap.String("url", p.f.where))
}

// silent takes it that Patroni has not answered for too long.
func (p *poll) silent() {
	p.fail(p.none)
	p.f.lose(errOverdue, fmt.Sprintf("Patroni does not answer: %v", p.none), false)
	p.f.settle()
}

// standing returns the term that stands, nil if none does.
func (f *Follower) standing() *term {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.term
}

// hurry returns the time to the next request if the one that is being sent is not
// answered: a term, or addresses that a former process left, may end meanwhile.
func (f *Follower) hurry() time.Duration {
	select {
	case <-f.first:
		if f.standing() == nil {
			return interval
		}
	default:
	}
	return retry
}

// settle notes that the first answer has come, or will not be waited for.
func (f *Follower) settle() {
	select {
	case <-f.first:
	default:
		close(f.first)
	}
}

// confirm takes a yes to a request, and reports whether it counts. A yes to a request
// that was sent before a no arrived may be the older of the two; one that is almost over
// is of no use.
func (f *Follower) confirm(sent moment) bool {
	f.mu.Lock()
	t := f.term
	if !sent.After(f.refused) || !time.Now().Before(sent.end().Add(-margin)) || t != nil && !sent.After(t.sent.Time) {
		f.mu.Unlock()
		return false
	}
	if t == nil {
		t = &term{f: f}
		t.ctx, t.cancel = context.WithCancelCause(context.Background())
		if !f.refused.IsZero() { // another host may have had the role
			t.acts = time.Now().Add(handover)
		}
		f.term, f.last, f.known, f.reason = t, t, true, ""
		close(f.changed)
		f.changed = make(chan struct{})
		defer f.o.Moved()
		f.o.Journal.Tell(roleTaken)
		f.o.Metrics.has(f.o.Role, true)
	}
	t.sent = sent
	f.mu.Unlock()
	f.condition.Set(true, "")
	f.settle()
	f.o.Renewed()
	return true
}

// deniedError is why a host does not have a role.
type deniedError struct{ role Role }

// Error returns the reason.
func (e deniedError) Error() string {
	return "Patroni says that this host is not " + e.role.String()
}

// refuse takes a no.
func (f *Follower) refuse() {
	why := deniedError{f.o.Role}
	f.lose(why, why.Error(), true)
	f.settle()
}

// lose ends the term, if one stands, with a cause. known says that Patroni has said so.
func (f *Follower) lose(cause error, reason string, known bool) {
	f.mu.Lock()
	t := f.term
	moved := t != nil || known != f.known
	changed := moved || reason != f.reason
	f.term, f.known, f.reason = nil, known, reason
	if known {
		f.refused = time.Now()
	}
	if changed {
		close(f.changed)
		f.changed = make(chan struct{})
	}
	f.mu.Unlock()
	if t != nil {
		t.cancel(cause) // before anything else: the addresses go
		f.o.Journal.Tell(roleEnded, zap.NamedError("reason", cause))
		f.o.Metrics.has(f.o.Role, false)
	}
	f.condition.Set(false, reason)
	if moved {
		f.o.Moved()
	}
}
