package election

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime returns the time since boot, the time of suspension included, which
// Go's own monotonic clock leaves out (clock_gettime(2)).
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // never seen; the monotonic clock still counts
	}
	return time.Duration(ts.Nano())
}
