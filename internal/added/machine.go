package added

import (
	"time"

	"berth/election"
	"berth/ips"
	"berth/vrrp"
)

// verdict is what the conditions of an address say.
type verdict uint8

const (
	undecided verdict = iota // a health check has not been seen to rise or fall
	good
	bad
)

// situation is what the machine of an address is told: what its conditions say, and what
// its campaign does.
type situation struct {
	verdict verdict
	reason  string // why the verdict is not good
	status  election.Status
	unable  bool // status tells that the conditions keep this member out of the election
}

// machine is LinK's machine of one address.
type machine struct {
	claims bool
	state  ips.State
	since  time.Time
	last   *ips.Happened

	// The last situation said these.
	verdict verdict
	status  election.Status
}

func newMachine(claims bool) machine {
	return machine{claims: claims, state: ips.Booting, since: time.Now(), verdict: good}
}

// step is an event, and the states before and after it.
type step struct {
	ips.Happened
	former, state ips.State
}

// take derives the events from a situation, and returns those that have happened, in order.
// The conditions come first: an election counts for a member that is able.
func (m *machine) take(s situation) (all []step) {
	happen := func(e ips.Event, reason string) {
		h := ips.Happened{Event: e, At: time.Now().UTC(), Reason: reason}
		former := m.state
		if m.state = ips.Next(former, e, m.claims); m.state != former {
			m.since = h.At
		}
		m.last = &h
		all = append(all, step{h, former, m.state})
	}
	if s.verdict != m.verdict {
		switch m.verdict = s.verdict; s.verdict {
		case bad:
			happen(ips.CheckFail, s.reason)
		case good:
			happen(ips.CheckSuccess, "")
		}
	}
	news := s.status.State != m.status.State || s.status.Token != m.status.Token || m.claims && s.status.Retained != m.status.Retained
	m.status = s.status
	e, is := m.elective(s)
	if is && (news || ips.Next(m.state, e, m.claims) != m.state) {
		happen(e, s.status.Reason)
	}
	return all
}

// elective returns the event that the state of the campaign is, if it is one.
func (m *machine) elective(s situation) (ips.Event, bool) {
	switch st := s.status; {
	case st.State == vrrp.Master && (st.Token == 0 || st.Retained && m.claims): // without etcd
		return ips.Fault, true
	case st.State == vrrp.Master:
		return ips.Elected, true
	case st.State == vrrp.Backup:
		return ips.Demoted, true
	case st.State != vrrp.Fault || s.unable:
		return "", false
	case m.claims:
		// The campaign claims the address later, if no other member is known to have it. An
		// owner whose lease has ended has lost the address.
		return ips.Demoted, m.state == ips.Activated
	}
	return ips.Fault, true
}
