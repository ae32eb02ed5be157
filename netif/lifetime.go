package netif

import "time"

const (
	// margin is what the kernel may be late by, and a little more. Its check of
	// lifetimes counts whole seconds and is itself rounded to them, to save wakeups
	// (check_lifetime and addrconf_verify_rtnl of the kernel).
	margin = 1250 * time.Millisecond
	// early is how long before a whole second passes a lifetime is renewed that
	// would be shorter after it.
	early = 5 * time.Millisecond
	// slack is by how much a lifetime may overstep, because time passes between the
	// look at the clock and the kernel's own. The margin has room for it.
	slack = 50 * time.Millisecond
)

// lifetime returns the longest lifetime, in whole seconds as the kernel wants
// them, that an address may be given now so that it is gone by end. With less
// than 1 nothing may be bound. While the end stays where it is, a renewal at
// again makes the address last longest; a later one would count a second less.
func lifetime(end, now time.Time) (seconds int, again time.Time) {
	last := end.Add(-margin)
	left := last.Sub(now)
	if left < time.Second {
		return 0, time.Time{}
	}
	seconds = int(left / time.Second)
	return seconds, last.Add(-time.Duration(seconds)*time.Second - early)
}
