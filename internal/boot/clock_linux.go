package boot

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock returns the time since boot, the time of suspension included, which Go's own
// monotonic clock leaves out (clock_gettime(2)).
func Clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // never seen; the monotonic clock still counts
	}
	return time.Duration(ts.Nano())
}

// Suspended returns for how long the machine was suspended since a moment, of which both
// the time with a monotonic reading and the time since boot are known.
func Suspended(since time.Time, boot time.Duration) time.Duration {
	// The two clocks are not read at once.
	if d := Clock() - boot - time.Since(since); d > 100*time.Millisecond {
		return d
	}
	return 0
}
