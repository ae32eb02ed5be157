package presence

import (
	"context"
	"errors"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// dumpAttempts bounds how often a list is asked for that changes while the
	// kernel writes it.
	dumpAttempts = 5
	// resubscribe spaces the attempts to get events again.
	resubscribe = time.Second
	// eventBuffer holds the events of several thousand addresses.
	eventBuffer = 1 << 20
)

// Addresses lists the addresses of berth's own network namespace.
func Addresses() (Bound, error) { return addresses(&netlink.Handle{}) }

// whole asks again while the kernel says that its answer has holes.
func whole[T any](list func() ([]T, error)) (found []T, err error) {
	for range dumpAttempts {
		if found, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return found, err
}

// subscribe calls changed, which must not block, after changes of addresses in
// the network namespace of a process, 0 for berth's own, and whenever some may
// have been missed, until ctx ends. It returns ctx's cause.
func subscribe(ctx context.Context, pid int, changed func()) error {
	for {
		updates, done := make(chan netlink.AddrUpdate), make(chan struct{})
		listen := func() error {
			return netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{ReceiveBufferSize: eventBuffer})
		}
		var err error
		if pid == 0 {
			err = listen()
		} else {
			_, err = inside(pid, listen)
		}
		if err == nil {
			changed() // from here on nothing is missed
			stop := context.AfterFunc(ctx, func() { close(done) })
			for range updates { // closed on an overflow too, ENOBUFS of netlink(7)
				changed()
			}
			if stop() {
				close(done)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(resubscribe):
		}
	}
}
