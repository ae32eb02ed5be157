package vrrp

import "time"

// Kind is what an Event means for the instance that it names.
type Kind uint8

const (
	// StateChange says that the instance's state is now Event.State. keepalived may
	// repeat it without a change.
	StateChange Kind = iota
	// VerifyNow (keepalived's MASTER_RX_LOWER_PRI) says that the instance is
	// still MASTER but another host advertises too, so that the owner of the
	// floating IP should be checked. keepalived writes it once per advertisement.
	VerifyNow
	// PriorityChange (MASTER_PRIORITY, BACKUP_PRIORITY) reports a new effective
	// priority and no change of state.
	PriorityChange
)

// Event is the content of one notify invocation or one FIFO line.
type Event struct {
	Source   string    // origin, for the log: "notify" or "fifo"
	Group    bool      // the event names a VRRP sync group, not an instance
	Instance string    // name of the instance or group, verbatim bytes
	Kind     Kind      // meaning of the event
	State    State     // for StateChange only
	Priority int       // effective priority, 0 for groups or when unknown
	Received time.Time // when berth read it
	// Reason explains a state that keepalived did not report itself; empty for a
	// state that it reported.
	Reason string
}

// ParseWord gives the meaning of the third word of a FIFO line, which is also
// the third argument of a notify script. It reports false for a word that
// keepalived does not write; such an event has no effect.
func ParseWord(word string) (Kind, State, bool) {
	switch word {
	case "MASTER_RX_LOWER_PRI":
		return VerifyNow, Unknown, true
	case "MASTER_PRIORITY", "BACKUP_PRIORITY":
		return PriorityChange, Unknown, true
	}
	s, ok := ParseState(word)
	return StateChange, s, ok
}
