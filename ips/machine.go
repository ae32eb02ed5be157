package ips

// State is the state of an address on one member, in LinK's words.
type State string

// The states. README of LinK: "Each LinK agent can be in any of these three states".
const (
	// Booting is the state until the first other one is known.
	Booting State = "BOOTING"
	// Activated says that this member has the address.
	Activated State = "ACTIVATED"
	// Standby says that this member could have the address, and does not.
	Standby State = "STANDBY"
	// Failing says that the health checks keep this member from having the address.
	Failing State = "FAILING"
)

// States are all states.
var States = []State{Booting, Activated, Standby, Failing}

// Event is an event of LinK's machine.
type Event string

// The events, with the words that LinK's README has for them.
const (
	// Fault says that this member cannot coordinate with the others.
	Fault Event = "fault"
	// Elected says that this member was elected to own the address.
	Elected Event = "elected"
	// Demoted says that this member does not own the address, or not any more.
	Demoted Event = "demoted"
	// CheckFail says that the health checks of the address have failed.
	CheckFail Event = "health_check_fail"
	// CheckSuccess says that the health checks of the address have succeeded.
	CheckSuccess Event = "health_check_success"
)

// Events are all events.
var Events = []Event{Fault, Elected, Demoted, CheckFail, CheckSuccess}

// Next returns the state that follows from an event. The machine is LinK's where members
// claim addresses without etcd: then a fault makes an owner of each member that is
// healthy, so that at least one has the address. Where members do not claim, a fault makes
// no owner: it is the end of ACTIVATED, and changes no other state.
func Next(s State, e Event, claims bool) State {
	switch {
	case e == CheckFail:
		return Failing
	case s == Failing && e == CheckSuccess:
		return Standby
	case s == Failing || e == CheckSuccess:
		return s
	case e == Elected || e == Fault && claims:
		return Activated
	case e == Demoted || e == Fault && s == Activated:
		return Standby
	}
	return s
}
