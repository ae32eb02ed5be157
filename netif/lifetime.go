package netif

import "time"

const (
	// margin is what the kernel may be late by, and a little more. To save wakeups it
	// puts its check of lifetimes off to a rounded second, at most by a quarter of
	// one, but looks at least a second apart (check_lifetime and addrconf_verify_rtnl
	// of the kernel). TestTheKernelRemovesInTime measures it; Linux 6.18, 75
	// addresses each, IPv4 and IPv6 alike:
	//
	//	other lifetimes set meanwhile   removed after its time, least / median / most
	//	none                               1 ms /  52 ms / 253 ms
	//	every second                     -14 ms / 450 ms / 969 ms
	//	every 100 ms                     -21 ms /  29 ms /  83 ms
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
