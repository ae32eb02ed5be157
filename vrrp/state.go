package vrrp

import "fmt"

// State is the state of a VRRP instance as keepalived last reported it.
// The zero value is Unknown: nothing was reported yet.
type State uint8

// The states, spelled as keepalived spells them (see String).
const (
	Unknown State = iota
	Backup
	Master
	Fault
	Stop    // keepalived is stopping; the instance holds nothing from here on
	Deleted // the instance was removed from the configuration (notify_deleted)
)

var stateWords = [...]string{
	Unknown: "UNKNOWN",
	Backup:  "BACKUP",
	Master:  "MASTER",
	Fault:   "FAULT",
	Stop:    "STOP",
	Deleted: "DELETED",
}

// String returns keepalived's word for the state, UNKNOWN for the zero value.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// ParseState returns the state for one of keepalived's five state words. The
// words are case-sensitive, as keepalived always writes capitals.
func ParseState(word string) (State, bool) {
	for s, w := range stateWords {
		if State(s) != Unknown && w == word {
			return State(s), true
		}
	}
	return Unknown, false
}

// MarshalText writes the state as keepalived's word, for status files.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (s *State) UnmarshalText(text []byte) error {
	if string(text) == stateWords[Unknown] {
		*s = Unknown
		return nil
	}
	parsed, ok := ParseState(string(text))
	if !ok {
		return fmt.Errorf("unknown VRRP state %q", text)
	}
	*s = parsed
	return nil
}
