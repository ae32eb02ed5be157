package truth

import "time"

// confirmAfter is how long an address must stay away before its absence counts:
// keepalived takes addresses off and says so in the same moment, but not at the
// same instant.
const confirmAfter = time.Second

// sight is what was seen of one address under one MASTER. The zero value is an
// address that was never seen here.
type sight struct {
	seen      bool
	gone      time.Time // since when it is away, zero while it is here
	suspended bool
}

// change is what follows from a look at an address.
type change uint8

const (
	none change = iota
	suspend
	resume
)

// look is the transition function: what a look at the host at a moment means
// for the address.
func (s sight) look(present bool, now time.Time) (sight, change) {
	switch {
	case present && s.suspended:
		return sight{seen: true}, resume
	case present:
		return sight{seen: true}, none
	case !s.seen, s.suspended:
		return s, none
	case s.gone.IsZero():
		s.gone = now
		return s, none
	case now.Sub(s.gone) >= confirmAfter:
		s.suspended = true
		return s, suspend
	}
	return s, none
}

// due returns when the next look can change something by itself, zero if none
// can.
func (s sight) due() time.Time {
	if s.suspended || s.gone.IsZero() {
		return time.Time{}
	}
	return s.gone.Add(confirmAfter)
}
