package added

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"berth/election"
	"berth/health"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/ips"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// address is an address of the list, or one that is being given up. The lock of the set
// guards it.
type address struct {
	entry
	tests   tests
	machine machine
	fit     condition.Value // the address can be bound, and its health checks are good
	gate    *gate           // all conditions
	verdict verdict
	reason  string // why the verdict is not good

	// These belong to the campaign.
	serves vrrp.FloatingIP // with the prefix length that it binds
	status election.Status
	unable bool                    // status tells that the gate is closed
	bound  bool                    // the address is bound
	end    context.CancelCauseFunc // nil while there is none
	ended  bool                    // end was called
}

// gate is the conditions of a campaign. It keeps the reason that it gave last, so that a
// state of the campaign that comes from it can be told from one that comes from etcd.
type gate struct {
	condition.Condition
	mu     sync.Mutex // guards reason
	reason string
}

// State is that of condition.Condition.
func (g *gate) State() (holds bool, reason string) {
	holds, reason = g.Condition.State()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !holds {
		g.reason = reason
	}
	return holds, reason
}

// closed reports whether a reason is the one that the gate gave last.
func (g *gate) closed(reason string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason != "" && g.reason == reason
}

// Causes with which a campaign, or the run of a health check, ends.
var (
	errRemoved  = errors.New("the address was removed")
	errLength   = errors.New("the address gets another prefix length")
	errAnew     = errors.New("the address is asked for now")
	errUnneeded = errors.New("no address has the health check any more")
)

// steer begins and ends campaigns according to the list, and has the machines take what is
// new. It is called with the lock held.
func (s *Set) steer(ctx context.Context) {
	host, why := s.judgeHost()
	for _, a := range s.book.sorted() {
		e := s.book.list[a]
		ad := s.all[a]
		switch {
		case s.Taken[a] != "" || ad == nil && ctx.Err() != nil:
			continue
		case ad == nil:
			ad = s.enter(a, e)
			ad.tests.set(ctx, &s.checks, a, e.probes(), true)
		case ctx.Err() == nil:
			ad.tests.set(ctx, &s.checks, a, e.probes(), false)
		}
		ad.entry = e
		s.judge(a, ad, host, why)
		s.happen(a, ad)
		switch {
		case ad.end != nil && ad.serves != e.ip:
			ad.stop(errLength)
		case ad.end == nil && ctx.Err() == nil:
			s.start(ctx, a, ad)
		}
	}
	s.checks.presume = nil // what begins later was not healthy before
	for a, ad := range s.all {
		if _, listed := s.book.list[a]; listed && s.Taken[a] == "" {
			continue
		}
		if ad.end != nil {
			ad.stop(errRemoved)
			continue
		}
		ad.tests.end(&s.checks, a)
		delete(s.all, a)
		s.Status.Forget(a.String())
	}
	s.checks.tell()
	states := map[ips.State]int{}
	for _, ad := range s.all {
		states[ad.machine.state]++
	}
	s.Metrics.show(states)
}

// enter makes what belongs to an address of the list. It is called with the lock held.
func (s *Set) enter(a netip.Addr, e entry) *address {
	ad := &address{entry: e, machine: newMachine(s.Alone)}
	ad.gate = &gate{Condition: condition.All(append(slices.Clone(s.Able), &ad.fit, s.Interface)...)}
	s.all[a] = ad
	return ad
}

// judgeHost derives what the conditions of the host say together.
func (s *Set) judgeHost() (v verdict, why string) {
	v = good
	for _, c := range append(slices.Clone(s.Able), s.Interface) {
		holds, reason := c.State()
		if holds || v == bad {
			continue
		}
		if is := verdictOf(c); is == bad || v == good {
			v, why = is, reason
		}
	}
	return v, why
}

// judge derives what the conditions of an address and of the host say together. It is
// called with the lock held.
func (s *Set) judge(a netip.Addr, ad *address, host verdict, ofHost string) {
	v, why := ad.tests.verdict(&s.checks, a)
	if refusal := s.managed.Refusal(a); refusal != "" {
		v, why = bad, refusal
	}
	ad.fit.Set(v == good, why)
	if v == good || v == undecided && host == bad {
		v, why = host, ofHost
	}
	ad.verdict, ad.reason = v, why
}

// verdictOf returns what a condition that does not hold says.
func verdictOf(c condition.Condition) verdict {
	if check, is := c.(interface{ Known() (health.State, bool) }); is {
		if _, known := check.Known(); !known {
			return undecided
		}
	}
	return bad
}

// happen has the machine of an address take what is new. It is called with the lock held.
func (s *Set) happen(a netip.Addr, ad *address) {
	for _, h := range ad.machine.take(situation{ad.verdict, ad.reason, ad.status, ad.unable}) {
		s.Metrics.happened(h.Event)
		s.Journal.Tell(addressEvent, zap.String("event", string(h.Event)), zap.Stringer("address", a),
			zap.String("former", string(h.former)), zap.String("state", string(h.state)), zap.String("reason", h.Reason))
	}
}

// stop ends the campaign of an address, once.
func (ad *address) stop(cause error) {
	if !ad.ended {
		ad.ended = true
		ad.end(cause)
	}
}

// start begins the campaign for an address. It is called with the lock held.
func (s *Set) start(ctx context.Context, a netip.Addr, ad *address) {
	ctx, end := context.WithCancelCause(ctx)
	ad.serves, ad.end, ad.ended = ad.ip, end, false
	name := a.String()
	options := owner.Options{Instance: name, Addresses: []vrrp.FloatingIP{ad.serves}, Interface: s.Interface, Journal: s.Journal,
		Report: func(r []refresher.Report) { // after it is bound
			s.Status.Addresses(name, s.Addresses(r))
			s.change(func() { ad.bound = true })
		}}
	if s.Loop != nil {
		options.Loop = func(ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop {
			return s.Loop(name, ip, check, j)
		}
	}
	o := owner.New(options)
	e := election.Campaign{Instance: name, Addresses: []string{ad.serves.String()}, Able: ad.gate, Alone: s.Alone,
		Joined: s.Interface.Announce, Journal: s.Journal.With(zap.String("instance", name)),
		Changed: func(st election.Status) {
			unable := ad.gate.closed(st.Reason)
			owner.Tell(s.Status, st, s.Lease)
			s.change(func() { ad.status, ad.unable, ad.bound = st, unable, ad.bound && st.State == vrrp.Master })
		}}
	s.running.Go(func() {
		defer end(nil)
		_ = s.Decider.Campaign(ctx, e, o.Run) // it returns the cause of its end, which this package knows
		s.change(func() { ad.end = nil })
	})
}
