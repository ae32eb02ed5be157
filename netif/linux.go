package netif

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// shared reports whether an address shares its subnet with others, so that the kernel may
// make it a secondary address of one of them, or them of it.
func shared(p netip.Prefix) bool { return p.Addr().Is4() && !p.IsSingleIP() }

// promotes returns an error if the removal of an address would remove others of its
// subnet (promote_secondaries in the kernel's ip-sysctl.rst). IPv6 has no secondary
// addresses.
func promotes(name string, p netip.Prefix) error {
	if !shared(p) {
		return nil
	}
	const dir = "/proc/sys/net/ipv4/conf"
	for _, conf := range []string{"all", name} {
		value, err := os.ReadFile(filepath.Join(dir, conf, "promote_secondaries"))
		if err == nil && strings.TrimSpace(string(value)) != "0" {
			return nil
		}
	}
	return fmt.Errorf("its removal would remove other addresses of its subnet; write %v/32, or run: echo 1 >%s/%s/promote_secondaries",
		p.Addr(), dir, name)
}

// linux is the kernel of this host. Its sockets stay in the network namespace
// in which they were opened.
type linux struct {
	name     string
	dial     func(groups ...int) (*os.File, error)
	requests *os.File
	events   *os.File // nil after a watch that failed
	buffer   []byte   // of requests
	wire     *wire
	index    atomic.Int64 // of the interface, as observed last; 0 while there is none
}

func openKernel(name string) (kernel, error) {
	k := &linux{name: name, dial: netlinkSocket, buffer: make([]byte, 1<<16)}
	if err := k.open(); err != nil {
		return nil, errors.Join(cure(err), k.Close())
	}
	return k, nil
}

func (k *linux) open() (err error) {
	if k.requests, err = k.dial(); err != nil {
		return err
	}
	if err := k.subscribe(); err != nil {
		return err
	}
	// The kernel checks the privilege before it finds that there is no such interface.
	if err := k.execute([]*nl.NetlinkRequest{deletionIPv4(math.MaxInt32)})[0]; errors.Is(err, unix.EPERM) {
		return fmt.Errorf("change addresses: %w", err)
	}
	l, err := k.byName(k.name)
	if err != nil {
		return fmt.Errorf("find it: %w", err)
	}
	if l.index == 0 {
		return errors.New("it does not exist; see: ip link")
	}
	k.wire, err = openWire(l.index)
	return err
}

func (k *linux) subscribe() (err error) {
	k.events, err = k.dial(unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	return err
}

// cure adds to an error of privilege what helps.
func cure(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: needs CAP_NET_ADMIN and CAP_NET_RAW, as root has them, or as a service with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW", err)
	}
	return err
}

func (k *linux) Close() error {
	var err error
	for _, f := range []*os.File{k.requests, k.events} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if k.wire != nil {
		err = errors.Join(err, k.wire.close())
	}
	return err
}

func (k *linux) state(follow bool) (link, []address, error) {
	l, err := k.find(follow)
	if err != nil {
		return link{}, nil, fmt.Errorf("find interface: %w", err)
	}
	k.index.Store(int64(l.index))
	if l.index != 0 {
		// An error is not returned: the addresses matter more than the claims.
		l.listenErr = k.wire.attach(l.index)
	}
	addrs, err := k.addresses()
	return l, addrs, err
}

// find finds the interface by the index that it had, and then by its name: an
// interface may be renamed while it is in use, and one that was deleted and made
// again has another index.
func (k *linux) find(follow bool) (l link, err error) {
	if index := k.index.Load(); index != 0 {
		if l, err = k.byIndex(int(index)); err != nil || l.name == k.name {
			return l, err
		}
	}
	if l.index != 0 && !follow {
		return l, nil
	}
	named, err := k.byName(k.name)
	if err == nil && named.index != 0 {
		l = named
	}
	return l, err
}

func (k *linux) byName(name string) (link, error) {
	return k.link(0, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

func (k *linux) byIndex(index int) (link, error) { return k.link(index, nil) }

// link returns one interface, with index 0 if the kernel does not have it.
func (k *linux) link(index int, name *nl.RtAttr) (l link, err error) {
	get := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index = int32(index)
	get.AddData(info)
	if name != nil {
		get.AddData(name)
	}
	err = k.exchange(get, func(m message) {
		if m.kind == unix.RTM_NEWLINK {
			l, _ = parseLink(m.body)
		}
	})
	if errors.Is(err, unix.ENODEV) {
		return link{}, nil
	}
	return l, err
}

func (k *linux) promotes(name string, p netip.Prefix) error { return promotes(name, p) }

func (k *linux) nameOf(index int) string {
	// Without an answer the number says which interface it is.
	if l, err := k.byIndex(index); err == nil && l.name != "" {
		return l.name
	}
	return fmt.Sprintf("interface number %d", index)
}

// addresses returns those of all interfaces. It asks again when the list has changed
// while the kernel sent it.
func (k *linux) addresses() (list []address, err error) {
	for range attempts {
		list = nil
		get := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		get.AddData(&nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: unix.AF_UNSPEC}})
		err = k.exchange(get, func(m message) {
			if a, ok := parseAddress(m.body); m.kind == unix.RTM_NEWADDR && ok {
				list = append(list, a)
			}
		})
		if !errors.Is(err, errInterrupted) {
			break
		}
	}
	return list, err
}

func (k *linux) send(frame []byte) error { return k.wire.send(frame) }

func (k *linux) watch(ctx context.Context, f func(event)) error {
	if k.events == nil {
		if err := k.subscribe(); err != nil {
			return err
		}
		f(event{kind: missed})
	}
	events := k.events
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { k.wire.watch(ctx, f) })
	// A deadline in the past interrupts a blocked read when the context ends.
	defer context.AfterFunc(ctx, func() { events.SetReadDeadline(time.Unix(1, 0)) })()
	for buffer := make([]byte, 1<<16); ; {
		err := readMessages(events, buffer, func(m message) { k.report(m, f) })
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, unix.ENOBUFS): // netlink(7)
			f(event{kind: missed})
		case errors.Is(err, os.ErrDeadlineExceeded): // a deadline of an earlier watch
			if err := events.SetReadDeadline(time.Time{}); err != nil {
				return k.unsubscribe(err)
			}
		case err != nil:
			return k.unsubscribe(err)
		}
	}
}

// unsubscribe closes the socket of a watch that failed; the next watch opens another.
func (k *linux) unsubscribe(err error) error {
	cerr := k.events.Close()
	k.events = nil
	if errors.Is(cerr, os.ErrClosed) {
		return err
	}
	return errors.Join(err, cerr)
}

// report calls f with the event of a message about this interface, or about an address
// of any interface.
func (k *linux) report(m message, f func(event)) {
	index := k.index.Load()
	switch m.kind {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, ok := parseLink(m.body)
		switch same := int64(l.index) == index; {
		case !ok:
		case m.kind == unix.RTM_DELLINK && same: // deleted, or moved to another namespace
			k.index.CompareAndSwap(index, 0)
			f(event{kind: linkChanged})
		case m.kind == unix.RTM_DELLINK:
		case same || index == 0 && l.name == k.name:
			f(event{kind: linkChanged, link: l})
		case l.name == k.name: // another interface has the name now
			f(event{kind: missed})
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, ok := parseAddress(m.body)
		if !ok {
			return
		}
		if m.kind == unix.RTM_NEWADDR {
			f(event{kind: added, address: a})
			return
		}
		// The message about an address that a program deleted has the port of its
		// netlink(7) socket. Messages about IPv6 addresses have no port.
		expired := m.port == 0 && a.prefix.Addr().Is4() && a.valid != forever
		f(event{kind: deleted, address: a, expired: expired})
	}
}
