package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// ErrLeave is the cause of a context with which Hold leaves the addresses where
// they are: the process makes room for its successor. Their lifetimes go on.
var ErrLeave = errors.New("leaving the addresses to the next process")

// Options of an Interface.
type Options struct {
	// Name of the interface. It may vanish and come back later.
	Name string
	// Managed are all addresses that may be bound here. Whatever has the same
	// address on the interface, with any prefix length, counts as it. Nothing else
	// is ever touched.
	Managed  []netip.Prefix
	Announce Announce
	// End returns the moment by which every bound address must be gone from this
	// host, with a monotonic reading. It is asked before each binding and renewal.
	End func() time.Time
	// Elsewhere reports whether somebody else is known to be entitled to the
	// address, so that it may be removed here. It must return false while that is
	// unknown. Call Renewed when its answer becomes true.
	Elsewhere func(netip.Prefix) bool
	// Contested, which may be nil, is told when an address begins to be fought over
	// again and again, and when that has ended. It must not block.
	Contested func(p netip.Prefix, contested bool)
	// None of these functions may call the Interface.

	// Record is the path of a file for what was bound, so that Sweep finds it after
	// a change of Managed; "" for none.
	Record  string
	Log     *zap.Logger
	Metrics *Metrics // nil counts nothing
}

// kernel is what an Interface asks of the system, all about the interface with
// its name. The Interface makes one call at a time, but for watch, which runs
// beside the others.
type kernel interface {
	// state returns the interface, with index 0 while there is none, and all
	// addresses on it.
	state() (link, []address, error)
	// bind gives addresses, there already or not, this many seconds to live from
	// now, without a pause between them. After an error some may be bound.
	bind(addrs []netip.Prefix, seconds int) error
	// unbind removes addresses. What is not there is no error; of IPv4, another
	// prefix length of the same address may go in its place.
	unbind(addrs []netip.Prefix) error
	// send puts an Ethernet frame on the wire. It never blocks.
	send(frame []byte) error
	// watch calls f with what happens, in order, until ctx ends, and returns its
	// cause. f may be called by several goroutines.
	watch(ctx context.Context, f func(event)) error
	// Close frees what the others use.
	Close() error
}

// link is the state of the interface.
type link struct {
	index       int // 0: it does not exist
	up, carrier bool
	mac         net.HardwareAddr // nil where there is no Ethernet, or no ARP
}

func (l link) ready() bool { return l.index != 0 && l.up && l.carrier }

// address is one on the interface.
type address struct {
	prefix    netip.Prefix
	valid     time.Duration // left of its life, forever for one without an end
	proto     uint8         // IFA_PROTO: who made it
	duplicate bool          // duplicate address detection failed: not usable
}

const forever time.Duration = 1<<63 - 1

// event is what watch reports.
type event struct {
	kind    eventKind
	link    link             // of linkChanged
	address address          // of added and deleted
	claimed netip.Addr       // of claimed
	mac     net.HardwareAddr // of claimed: who said so
}

type eventKind int

const (
	linkChanged eventKind = iota
	added                 // or changed
	deleted
	claimed // by ARP or neighbour advertisement
	missed  // some events are lost
)

// Interface binds addresses to one interface. Its methods may be called from any
// goroutine.
type Interface struct {
	o       Options
	kernel  kernel
	log     *zap.Logger
	managed map[netip.Addr]netip.Prefix
	record  *record
	wake    chan struct{} // one slot: a review is wanted
	renewed atomic.Bool   // the end has moved since the last review
	healed  atomic.Bool   // announcements may have been lost since the last review

	// ready is apart from the rest so that link events tell of themselves at once,
	// whatever the kernel is busy with.
	ready struct {
		sync.Mutex
		link    link
		changed chan struct{} // closed at the next change
	}

	mu      sync.Mutex
	link    link
	present map[netip.Addr][]address // managed addresses, as last seen
	held    map[netip.Addr]*binding
	left    map[netip.Addr]bool // with ErrLeave
	fights  map[netip.Addr]*fights
	again   time.Time // when to renew even if the end does not move; zero for never
	told    time.Time // when all was last announced anew
	failing bool      // the last look failed
}

// Open returns the interface with this name. It checks that the interface
// exists, that this process may change its addresses and that an address with a
// prefix that others share cannot take them along when it goes. It starts no
// goroutine. Close must be called.
func Open(o Options) (*Interface, error) {
	for _, p := range o.Managed {
		if err := promotes(o.Name, p); err != nil {
			return nil, err
		}
	}
	k, err := openKernel(o.Name)
	if err != nil {
		return nil, fmt.Errorf("open interface %s: %w", o.Name, err)
	}
	i, err := open(o, k)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return i, nil
}

func open(o Options, k kernel) (*Interface, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Contested == nil {
		o.Contested = func(netip.Prefix, bool) {}
	}
	i := &Interface{
		o: o, kernel: k, log: o.Log,
		managed: make(map[netip.Addr]netip.Prefix, len(o.Managed)),
		record:  openRecord(o.Record, o.Name),
		wake:    make(chan struct{}, 1),
		held:    map[netip.Addr]*binding{},
		left:    map[netip.Addr]bool{},
		fights:  map[netip.Addr]*fights{},
	}
	i.ready.changed = make(chan struct{})
	for _, p := range o.Managed {
		i.managed[p.Addr()] = p
		i.fights[p.Addr()] = &fights{}
		o.Metrics.begin(p)
	}
	if err := i.look(); err != nil {
		return nil, err
	}
	return i, nil
}

// Close frees the sockets. Run and every Hold must have returned.
func (i *Interface) Close() error { return i.kernel.Close() }

// Sweep removes managed addresses that are here and not held, and those that an
// earlier run bound by its record, but for those that keep wants. It returns
// after they are gone.
func (i *Interface) Sweep(keep func(netip.Prefix) bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	l, all, err := i.kernel.state()
	if err != nil {
		return fmt.Errorf("sweep %s: %w", i.o.Name, err)
	}
	i.see(l, all)
	var gone []netip.Prefix
	for _, a := range all {
		p, managed := i.managed[a.prefix.Addr()]
		switch {
		case i.held[a.prefix.Addr()] != nil, managed && keep(p):
		case managed, i.record.left(a):
			gone = append(gone, a.prefix)
		}
	}
	if err := i.kernel.unbind(gone); err != nil {
		return fmt.Errorf("sweep %s: %w", i.o.Name, err)
	}
	for _, p := range gone {
		i.log.Info("removed an address that an earlier run left here", zap.Stringer("address", p))
	}
	i.record.remove(gone, i.log)
	return i.look()
}

// Renewed says that the end has moved, or that an answer of Elsewhere has: soon
// the lifetimes follow. It never blocks.
func (i *Interface) Renewed() {
	i.renewed.Store(true)
	i.wakeUp()
}

// Announce says that neighbours may have missed what was announced so far: all
// that is held is announced from the beginning, once in a second at most. It never
// blocks.
func (i *Interface) Announce() {
	i.healed.Store(true)
	i.wakeUp()
}

func (i *Interface) wakeUp() {
	select {
	case i.wake <- struct{}{}:
	default: // asked for already
	}
}

// Ready reports whether the interface is up and has a carrier, and if not, what
// is wrong with it.
func (i *Interface) Ready() (ok bool, why string) {
	i.ready.Lock()
	defer i.ready.Unlock()
	switch l := i.ready.link; {
	case l.index == 0:
		return false, "interface " + i.o.Name + " does not exist"
	case !l.up:
		return false, "interface " + i.o.Name + " is down"
	case !l.carrier:
		return false, "interface " + i.o.Name + " has no carrier"
	}
	return true, ""
}

// Changed returns a channel that is closed at the next change of Ready. Take it
// before asking.
func (i *Interface) Changed() <-chan struct{} {
	i.ready.Lock()
	defer i.ready.Unlock()
	return i.ready.changed
}

// setReady takes the state of the interface as Ready shows it.
func (i *Interface) setReady(l link) {
	i.ready.Lock()
	defer i.ready.Unlock()
	before := i.ready.link
	i.ready.link = l
	if before.index != 0 == (l.index != 0) && before.up == l.up && before.carrier == l.carrier {
		return
	}
	close(i.ready.changed)
	i.ready.changed = make(chan struct{})
	i.o.Metrics.setReady(i.o.Name, l.ready())
}
