package refresher

import "time"

// A floating IP that is taken away three times within a minute has two hosts
// that both believe to be its owner. Claiming it back at once each time would
// make the address useless for everybody, so the claims back off.
const (
	contestThefts = 3
	contestWindow = time.Minute
)

// contest counts the thefts of one address. Its methods are pure functions of
// the times given to them.
type contest struct {
	thefts []time.Time // the newest contestThefts ones
	claims int         // claims made since the contest began
}

// stolen records a theft and reports whether the address is contested now.
func (c *contest) stolen(now time.Time) bool {
	c.thefts = append(c.thefts, now)
	if n := len(c.thefts); n > contestThefts {
		c.thefts = c.thefts[n-contestThefts:]
	}
	if c.contested() {
		c.claims++
		return true
	}
	if len(c.thefts) < contestThefts || now.Sub(c.thefts[0]) > contestWindow {
		return false
	}
	c.claims = 1
	return true
}

// contested reports whether the contest is on.
func (c *contest) contested() bool { return c.claims > 0 }

// wait returns how long to leave the address alone after a claim: twice as
// long each time, interval at most.
func (c *contest) wait(initial, interval time.Duration) time.Duration {
	wait := initial
	for range c.claims {
		if wait *= 2; wait >= interval {
			return interval
		}
	}
	return wait
}

// over ends the contest when the address was found here and the last theft is
// more than a window and a wait ago. It reports whether it ended now.
func (c *contest) over(now time.Time, wait time.Duration) bool {
	if !c.contested() || now.Sub(c.thefts[len(c.thefts)-1]) < max(contestWindow, wait) {
		return false
	}
	*c = contest{}
	return true
}
