package presence

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// follow is how often it is compared whether keepalived has another network
// namespace than before, as after a restart with another net_namespace.
const follow = time.Second

// ErrNetwork says that the addresses of keepalived cannot be read, because they
// are in a network namespace that berth may not enter.
var ErrNetwork = errors.New("keepalived has a network namespace of its own, which berth may not enter; give berth CAP_SYS_ADMIN (under systemd: AmbientCapabilities= and CapabilityBoundingSet=, and RestrictNamespaces=net), or run it inside")

// Network is the network namespace in which keepalived has its addresses: that
// of its VRRP process, which net_namespace in keepalived.conf makes another one
// than berth's. It is entered by a thread of its own, which opens a socket there
// and ends; see setns(2).
type Network struct {
	process func() (pid int, ok bool)

	mu     sync.Mutex
	place  string          // the namespace that is read, as in /proc/PID/ns/net
	handle *netlink.Handle // inside it, nil for berth's own
	known  bool            // keepalived is surely in it
}

// NewNetwork returns the network of keepalived. process returns a process that is
// in it, the VRRP process; ok is false while none is known, and the namespace that was
// read last is read still: at first, berth's own. Close it when done.
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
// read last. Where that cannot be told, an address that is missing proves
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

// Has is Addresses for a caller that asks for single addresses.
func (n *Network) Has() (func(netip.Addr) bool, error) {
	bound, err := n.Addresses()
	return bound.Has, err
}

// HasOnce is Network.Has of a network that is read once.
func HasOnce(process func() (pid int, ok bool)) (func(netip.Addr) bool, error) {
	n := NewNetwork(process)
	defer n.Close()
	return n.Has()
}

// enter makes the namespace of the process the one that is read. It is
// called with the lock held.
func (n *Network) enter() error {
	pid, ok := n.process()
	if !ok {
		n.known = false
		return nil
	}
	place, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		n.known = false // the process has ended, or its namespace may not be read
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

// now returns the namespace that is read now, and a process in it, 0 for
// berth's own.
func (n *Network) now() (pid int, place string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// The error of Addresses tells of a namespace that cannot be entered.
	if n.enter() != nil || n.handle == nil {
		return 0, n.place
	}
	pid, _ = n.process()
	return pid, n.place
}

// inside calls do on a thread that is in the network namespace of a process, and
// returns that namespace. The sockets that do opens stay in it.
func inside(pid int, do func() error) (place string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is never unlocked: the runtime ends it with the goroutine, so
		// that nothing else can run in the other namespace. The process's first
		// thread cannot end and is only parked; therefore /proc/self, which shows
		// the first thread, proves nothing.
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

// link returns the MTU of an interface in the network namespace of a process,
// and whether there is one of that name. The error says that the namespace cannot
// be entered.
func link(pid int, name string) (mtu int, ok bool, err error) {
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

// sameNetwork reports whether a process is in berth's network namespace, or why that
// cannot be told.
func sameNetwork(pid int) (bool, error) {
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		return false, fmt.Errorf("read the network namespace of process %d: %w", pid, err)
	}
	ours, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("read the network namespace of berth: %w", err)
	}
	return theirs == ours, nil
}

// Interfaces returns a function that tells of an interface, by name, whether it exists
// and its MTU: in the network namespace of a process, and in berth's own where no
// process is known or its namespace cannot be entered.
func Interfaces(pid int, known bool) func(name string) (mtu int, exists bool) {
	if !known {
		return ownInterface
	}
	if same, err := sameNetwork(pid); err != nil || same {
		return ownInterface
	}
	return func(name string) (int, bool) {
		mtu, ok, err := link(pid, name)
		if err != nil {
			return ownInterface(name)
		}
		return mtu, ok
	}
}

func ownInterface(name string) (mtu int, exists bool) {
	own, err := net.InterfaceByName(name)
	if err != nil {
		return 0, false
	}
	return own.MTU, true
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
