package truth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// follow is how often it is looked whether keepalived has another network
// namespace than before, as after a restart with another net_namespace.
const follow = time.Second

// ErrNetwork says that the addresses of keepalived are not seen, because they
// are in a network namespace that berth may not enter.
var ErrNetwork = errors.New("keepalived has a network namespace of its own, which berth may not enter; give berth CAP_SYS_ADMIN (under systemd: AmbientCapabilities= and CapabilityBoundingSet=, and RestrictNamespaces=net), or run it inside")

// Network is the network namespace in which keepalived has its addresses: that
// of its VRRP process, which net_namespace in keepalived.conf makes another one
// than berth's. It is entered by a thread of its own, which opens a socket there
// and ends; see setns(2).
type Network struct {
	process func() (pid int, ok bool)

	mu     sync.Mutex
	place  string          // the namespace looked at, as in /proc/PID/ns/net
	handle *netlink.Handle // inside it, nil for berth's own
	known  bool            // keepalived is surely in it
}

// NewNetwork returns the network of keepalived. process returns a process that is
// in it, the VRRP process; ok is false while none is known, and what was looked at
// last is looked at still: at first, berth's own namespace. Close it when done.
func NewNetwork(process func() (pid int, ok bool)) *Network {
	return &Network{process: process}
}

// Close closes the socket inside.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leave()
}

func (n *Network) leave() {
	if n.handle != nil {
		n.handle.Close()
		n.handle = nil
	}
}

// Known reports whether keepalived is surely in the network that Addresses
// looked at last. Where that cannot be told, an address that is missing proves
// nothing.
func (n *Network) Known() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known
}

// Addresses lists the addresses there. The error matches ErrNetwork where the
// namespace may not be entered.
func (n *Network) Addresses() (Bound, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.enter(); err != nil {
		return nil, err
	}
	if n.handle == nil {
		return Addresses()
	}
	return addresses(n.handle)
}

// enter makes the namespace of the process the one that is looked at. It is
// called with the lock held.
func (n *Network) enter() error {
	pid, ok := n.process()
	if !ok {
		n.known = false
		return nil
	}
	place, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		n.known = false // it has ended, or may not be looked at
		return nil
	}
	ours, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		n.known = false
		return nil
	}
	if place == n.place || n.place == "" && place == ours {
		n.place, n.known = place, true
		return nil
	}
	var handle *netlink.Handle
	if place != ours {
		place, err = inside(pid, func() (err error) {
			handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
			return err
		})
		if err != nil {
			n.known = false
			return err
		}
	}
	n.leave()
	n.place, n.handle, n.known = place, handle, true
	return nil
}

// Subscribe calls changed, which must not block, after changes of the addresses
// there, when keepalived is found in another namespace, and whenever changes may
// have been missed, until ctx ends. It returns ctx's cause.
func (n *Network) Subscribe(ctx context.Context, changed func()) error {
	for {
		placeCtx, cancel := context.WithCancelCause(ctx)
		pid, place := n.now()
		var wg sync.WaitGroup
		wg.Go(func() { _ = subscribe(placeCtx, pid, changed) }) // returns nothing but the end of its context
		tick := time.NewTicker(follow)
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			if _, now := n.now(); now != place {
				changed()
				break
			}
		}
		tick.Stop()
		cancel(errMoved)
		wg.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

var errMoved = errors.New("keepalived is in another network namespace")

// now returns the namespace that is looked at now, and a process in it, 0 for
// berth's own.
func (n *Network) now() (pid int, place string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// Addresses tells of a namespace that cannot be entered.
	if n.enter() != nil || n.handle == nil {
		return 0, n.place
	}
	pid, _ = n.process()
	return pid, n.place
}

// inside calls do on a thread that is in the network namespace of a process, and
// returns that namespace. What do opens there stays there.
func inside(pid int, do func() error) (place string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the runtime ends the thread with the goroutine, so that
		// nothing else can run in the other namespace. The first thread is only
		// put aside; therefore /proc/self, which shows that one, proves nothing.
		runtime.LockOSThread()
		var ns *os.File
		if ns, err = os.Open("/proc/" + strconv.Itoa(pid) + "/ns/net"); err != nil {
			err = fmt.Errorf("open network namespace of process %d: %w", pid, err)
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			if errors.Is(err, unix.EPERM) {
				err = ErrNetwork
			}
			err = fmt.Errorf("enter network namespace of process %d: %w", pid, err)
			return
		}
		if place, err = os.Readlink("/proc/thread-self/ns/net"); err == nil {
			err = do()
		}
	}()
	<-done
	return place, err
}

// Link returns the MTU of an interface in the network namespace of a process,
// and whether there is one of that name. The error says that the namespace cannot
// be looked into.
func Link(pid int, name string) (mtu int, ok bool, err error) {
	_, err = inside(pid, func() error {
		l, err := netlink.LinkByName(name)
		if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
			return nil
		}
		if err == nil {
			mtu, ok = l.Attrs().MTU, true
		}
		return err
	})
	return mtu, ok, err
}

// SameNetwork reports whether a process is in berth's network namespace. The
// error says that it cannot be told.
func SameNetwork(pid int) (bool, error) {
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return false, fmt.Errorf("look at the network namespace of process %d: %w", pid, err)
	}
	ours, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("look at the network namespace of berth: %w", err)
	}
	return theirs == ours, nil
}

// lister asks the kernel, in the network namespace in which it was made.
type lister interface {
	LinkList() ([]netlink.Link, error)
	AddrList(link netlink.Link, family int) ([]netlink.Addr, error)
}

func addresses(l lister) (Bound, error) {
	links, err := whole(l.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addrs, err := whole(func() ([]netlink.Addr, error) { return l.AddrList(nil, netlink.FAMILY_ALL) })
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
