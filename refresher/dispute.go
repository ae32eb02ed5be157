package refresher

import "time"

// A floating IP that is taken away three times within a minute has two hosts that
// both believe to be its owner. Claiming it back at once each time would make the
// address useless to every client, so the claims back off.
const (
	disputeThefts = 3
	disputeWindow = time.Minute
)

// dispute counts the thefts of one address and tells whether the address is
// contested. Its methods are pure functions of the times given to them.
type dispute struct {
	thefts []time.Time // the newest disputeThefts ones
	claims int         // claims made since the address is contested
}

// stolen records a theft and reports whether the address is contested now.
func (d *dispute) stolen(now time.Time) bool {
	d.thefts = append(d.thefts, now)
	if n := len(d.thefts); n > disputeThefts {
		d.thefts = d.thefts[n-disputeThefts:]
	}
	if d.contested() {
		d.claims++
		return true
	}
	if len(d.thefts) < disputeThefts || now.Sub(d.thefts[0]) > disputeWindow {
		return false
	}
	d.claims = 1
	return true
}

// contested reports whether the address is contested.
func (d *dispute) contested() bool { return d.claims > 0 }

// wait returns how long to make no claim after the last one: twice as long each
// time, interval at most.
func (d *dispute) wait(initial, interval time.Duration) time.Duration {
	wait := initial
	for range d.claims {
		if wait *= 2; wait >= interval {
			return interval
		}
	}
	return wait
}

// over ends the dispute when the address was found here and the last theft is more
// than a window and a wait ago. It reports whether the dispute ended now.
func (d *dispute) over(now time.Time, wait time.Duration) bool {
	if !d.contested() || now.Sub(d.thefts[len(d.thefts)-1]) < max(disputeWindow, wait) {
		return false
	}
	*d = dispute{}
	return true
}
