package providers

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlSocket makes the kernel end a connection when data that was sent on it is
// not acknowledged for as long as a ping may take (tcp(7), TCP_USER_TIMEOUT):
// keep-alive probes are not sent while data is under way, and retransmission alone
// would go on for minutes. The option also ends an attempt to connect that gets no
// answer after two to three seconds.
func controlSocket(_ context.Context, _, _ string, c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((pingAfter + pingTimeout).Milliseconds()))
	})
	if cerr != nil {
		return cerr
	}
	return err
}
