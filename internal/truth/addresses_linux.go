package truth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
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

// Addresses lists the addresses of this host.
func Addresses() (Bound, error) {
	links, err := whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	b := make(Bound, len(addrs))
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			ip = ip.Unmap()
			b[ip] = append(b[ip], names[a.LinkIndex])
		}
	}
	return b, nil
}

// whole asks again while the kernel says that its answer has holes.
func whole[T any](list func() ([]T, error)) (found []T, err error) {
	for range dumpAttempts {
		if found, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return found, err
}

// Subscribe calls changed, which must not block, after changes of this host's
// addresses, and whenever some may have been missed, until ctx ends. It returns
// ctx's cause.
func Subscribe(ctx context.Context, changed func()) error {
	for {
		updates, done := make(chan netlink.AddrUpdate), make(chan struct{})
		err := netlink.AddrSubscribeWithOptions(updates, done, netlink.AddrSubscribeOptions{ReceiveBufferSize: eventBuffer})
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
