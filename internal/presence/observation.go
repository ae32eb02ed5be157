package presence

import "time"

// confirmAfter is how long an address must stay away before its absence counts:
// keepalived takes addresses off and says so in the same moment, but not at the
// same instant.
const confirmAfter = time.Second

// observation is what was seen of one address under one MASTER. The zero value is an
// address that was never seen here.
type observation struct {
	seen      bool
	gone      time.Time // since when it is away, zero while it is here
	suspended bool
}

// change is what follows when an address is observed.
type change uint8

const (
	none change = iota
	suspend
	resume
)

// next is the transition function: what it means for the address that it is present
// on the host at a moment, or is not.
func (o observation) next(present bool, now time.Time) (observation, change) {
	switch {
	case present && o.suspended:
		return observation{seen: true}, resume
	case present:
		return observation{seen: true}, none
	case !o.seen, o.suspended:
		return o, none
	case o.gone.IsZero():
		o.gone = now
		return o, none
	case now.Sub(o.gone) >= confirmAfter:
		o.suspended = true
		return o, suspend
	}
	return o, none
}

// due returns when the address changes by itself if it stays away, zero if it does
// not.
func (o observation) due() time.Time {
	if o.suspended || o.gone.IsZero() {
		return time.Time{}
	}
	return o.gone.Add(confirmAfter)
}
