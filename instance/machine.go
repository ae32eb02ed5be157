package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/journal"
	"berth/vrrp"

	"go.uber.org/zap"
)

// ErrDemoted is the cause with which a holding ends when its instance is no
// longer MASTER.
var ErrDemoted = errors.New("no longer MASTER")

// Hold does what an instance that is MASTER needs done, until ctx ends; then
// Hold returns soon. Hold must not return before ctx has ended: nothing starts it again
// before the next MASTER. Each value received from verify asks for a check of who owns
// the addresses.
type Hold func(ctx context.Context, instance string, verify <-chan struct{}) error

// Status is what a machine knows about its instance.
type Status struct {
	Instance string
	State    vrrp.State
	Since    time.Time
	Priority int
	Reason   string // why the state is what it is
}

// action is what follows from a reported state.
type action uint8

const (
	retain action = iota
	start
	end
	verify
)

// decide is the transition function: what a reported state means for an
// instance in the current one. It is total; every pair has a reason.
func decide(current, reported vrrp.State) (action, string) {
	switch {
	case reported == vrrp.Master && current == vrrp.Master:
		return verify, "MASTER reported again"
	case reported == vrrp.Master:
		return start, "MASTER reported"
	case current == vrrp.Master:
		return end, reported.String() + " reported"
	case reported == current:
		return retain, reported.String() + " reported again"
	}
	return retain, reported.String() + " reported"
}

// machine is the state machine of one instance. Its fields belong to run.
type machine struct {
	box     mailbox
	hold    Hold
	changed func(Status)
	journal *journal.Journal

	status  Status
	holding *holding
}

// run handles messages until ctx ends; then it ends the holding with the cause of
// ctx and returns.
func (m *machine) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			m.end(context.Cause(ctx))
			return
		case <-m.box.ready:
		}
		msg := m.box.take()
		if msg.priority != 0 {
			m.status.Priority = msg.priority
		}
		former := m.holding
		if msg.state != nil {
			m.report(ctx, msg.state)
		}
		if msg.end != nil {
			m.withdraw(msg.end)
		}
		if msg.restart != nil && m.holding != nil && m.holding == former {
			m.end(msg.restart)
			if m.box.pending() {
				// A message that arrived while the holding ended counts more.
				m.status.State = vrrp.Unknown
			} else {
				m.holding = startHolding(ctx, m.status.Instance, m.hold)
			}
		}
		if msg.verify && m.holding != nil {
			m.journal.Debug("asked to verify the owner")
			m.holding.verifyNow()
		}
		m.changed(m.status)
	}
}

// report takes a reported state.
func (m *machine) report(ctx context.Context, ev *vrrp.Event) {
	state := ev.State
	act, reason := decide(m.status.State, state)
	if ev.Reason != "" {
		reason = ev.Reason
	}
	if act == start {
		// Before the change is told: nothing may delay the first claim.
		m.holding = startHolding(ctx, m.status.Instance, m.hold)
	}
	if former := m.status.State; former != state {
		m.status.State, m.status.Since = state, time.Now()
		m.journal.Tell(stateChanged, zap.Stringer("state", state), zap.Stringer("former", former))
	} else {
		m.journal.Debug("state repeated", zap.Stringer("state", state))
	}
	m.status.Reason = reason
	switch act {
	case end:
		m.end(fmt.Errorf("%w: %s", ErrDemoted, reason))
	case verify:
		m.holding.verifyNow()
	}
}

// withdraw ends the holding for a reason other than a reported state.
func (m *machine) withdraw(cause error) {
	if m.status.State != vrrp.Master {
		return
	}
	m.journal.Tell(withdrawn, zap.String("reason", cause.Error()))
	m.status.State, m.status.Since, m.status.Reason = vrrp.Unknown, time.Now(), cause.Error()
	m.end(cause)
}

// end ends the holding, if there is one, and waits until it is gone.
func (m *machine) end(cause error) {
	if m.holding == nil {
		return
	}
	begun := time.Now()
	err := m.holding.stop(cause)
	m.holding = nil
	m.journal.Debug("holding ended", zap.Duration("took", time.Since(begun)), zap.NamedError("reason", err))
}
