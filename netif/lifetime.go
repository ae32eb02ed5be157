package netif

import "time"

const (
	// removalDelay is how late the kernel may remove an address, and a little more. To
	// save wakeups it puts its check of lifetimes off to a rounded second, at most by a
	// quarter of one, but checks at least a second apart (check_lifetime and
	// addrconf_verify_rtnl of the kernel). TestTheKernelRemovesInTime measures it; Linux
	// 6.18, 75 addresses each, IPv4 and IPv6 alike:
	//
	//	other lifetimes set meanwhile   removed after its time, least / median / most
	//	none                               1 ms /  52 ms / 253 ms
	//	every second                     -14 ms / 450 ms / 969 ms
	//	every 100 ms                     -21 ms /  29 ms /  83 ms
	removalDelay = 1250 * time.Millisecond
	// renewBefore is how long before a whole second passes a lifetime is renewed that
	// would be shorter after it.
	renewBefore = 5 * time.Millisecond
	// overshoot is by how much a lifetime may end too late, because time passes between
	// the reading of the clock here and in the kernel. removalDelay has room for it.
	overshoot = 50 * time.Millisecond
)

// lifetime returns the longest lifetime, in the whole seconds that the kernel counts,
// that an address may be given now so that it is removed by end. If it is less than 1,
// nothing may be bound. While the end stays where it is, a renewal at renewAt makes the
// address last longest; after a later one the lifetime is a second shorter.
func lifetime(end, now time.Time) (seconds int, renewAt time.Time) {
	last := end.Add(-removalDelay)
	left := last.Sub(now)
	if left < time.Second {
		return 0, time.Time{}
	}
	seconds = int(left / time.Second)
	return seconds, last.Add(-time.Duration(seconds)*time.Second - renewBefore)
}
