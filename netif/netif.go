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
	// Name of the interface. It may vanish and come back later. One that is renamed
	// while addresses are held on it is used on.
	Name string
	// Managed are all addresses that may be bound here. Whatever has the same
	// address on the interface, with any prefix length, counts as it. Nothing else
	// is ever touched, but for what an earlier run left on any interface.
	Managed  []netip.Prefix
	Announce Announce
	// End returns the moment by which every bound address must be gone from this
	// host, with a monotonic reading. It is asked before each binding and renewal.
	End func() time.Time
	// Elsewhere reports whether somebody else is known to be entitled to the
	// address, so that it may be removed here. It must return false while that is
	// unknown. Call Moved when its answer becomes true.
	Elsewhere func(netip.Prefix) bool
	// Contested, which may be nil, is told when an address begins to be fought over
	// again and again, and when that has ended. It must not block.
	Contested func(p netip.Prefix, contested bool)
	// Astray, which may be nil, is told the name of another interface of this host that
	// has the address although another host is entitled to it, so that two machines
	// answer for it; and "" when that has ended. It must not block.
	Astray func(p netip.Prefix, iface string)
	// None of these functions may call the Interface.

	// Record is the path of a file for what was bound, so that Sweep finds it after
	// a change of Managed; "" for none.
	Record  string
	Log     *zap.Logger
	Metrics *Metrics // nil counts nothing
}

// kernel is what an Interface asks of the system. The Interface makes one call at a
// time, but for watch, which runs beside the others.
type kernel interface {
	// state returns the interface, with index 0 while there is none, and the addresses
	// of all interfaces of this host. The interface is the one that was returned last
	// for as long as the kernel has it, whatever its name is by now, and then the one
	// with the configured name. With follow, one that has the name now goes before one
	// that has lost it.
	state(follow bool) (link, []address, error)
	// nameOf returns the name of any interface, for people.
	nameOf(index int) string
	// bind gives addresses of an interface, there already or not, this many seconds to
	// live from now, without a pause between them. It returns what the kernel answered
	// to each.
	bind(l link, addrs []netip.Prefix, seconds int) []error
	// unbind removes addresses from an interface. What is not there is no error; of
	// IPv4, another prefix length of the same address may go in its place.
	unbind(index int, addrs []netip.Prefix) error
	// send puts an Ethernet frame on the wire. It never blocks.
	send(frame []byte) error
	// watch calls f with what happens, in order, until ctx ends, and returns its cause,
	// or an error if it cannot go on. It may be called again then, and begins with
	// missed. f may be called by several goroutines.
	watch(ctx context.Context, f func(event)) error
	// Close frees what the others use.
	Close() error
}

// link is the state of the interface.
type link struct {
	index       int // 0: it does not exist
	name        string
	up, carrier bool
	mac         net.HardwareAddr // nil where there is no Ethernet, or no ARP
	deaf        error            // why claims of other machines are not heard on it
}

func (l link) ready() bool { return l.index != 0 && l.up && l.carrier }

// address is one of this host.
type address struct {
	on        int // index of its interface
	prefix    netip.Prefix
	valid     time.Duration // left of its life when it was seen, forever for one without an end
	seen      time.Time
	proto     uint8 // IFA_PROTO: who made it
	duplicate bool  // duplicate address detection failed: not usable
}

// mortal reports whether an address can be one that berth bound, in this run or an
// earlier one. A kernel before Linux 5.18 keeps no mark; there the limited life
// speaks for it.
func (a address) mortal() bool {
	return a.valid != forever && (a.proto == protocol || a.proto == 0)
}

const forever time.Duration = 1<<63 - 1

// event is what watch reports.
type event struct {
	kind    eventKind
	link    link             // of linkChanged
	address address          // of added and deleted
	expired bool             // of deleted: the kernel's own doing
	claimed netip.Addr       // of claimed
	mac     net.HardwareAddr // of claimed: who said so
	err     error            // of unheard
}

type eventKind int

const (
	linkChanged eventKind = iota
	added                 // or changed
	deleted
	claimed // by ARP or neighbour advertisement
	missed  // some events are lost
	unheard // claims of other machines cannot be heard
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
	moved   atomic.Bool   // so may have an answer of Elsewhere
	healed  atomic.Bool   // announcements may have been lost since the last review

	// ready is apart from the rest so that link events tell of themselves at once,
	// whatever the kernel is busy with.
	ready struct {
		sync.Mutex
		link    link
		unfit   string        // why it cannot be used although it is up
		changed chan struct{} // closed at the next change
	}

	// news is apart too, so that the watch waits for nothing.
	news struct {
		sync.Mutex
		events []event
	}
	// wanted is what Holds that begin or end wait for. One of them does it for all,
	// which is in the one slot of serving.
	serving chan struct{}
	wanted  struct {
		sync.Mutex
		requests []*request
	}

	mu      sync.Mutex
	link    link
	present map[netip.Addr][]address // managed addresses on the interface, as last seen
	strays  map[netip.Addr][]address // managed addresses on other interfaces, as last seen
	held    map[netip.Addr]*binding
	left    map[netip.Addr]bool // with ErrLeave
	fights  map[netip.Addr]*fights
	told    map[netip.Addr]string // strays that were told of, and the names of their interfaces
	due     time.Time             // when to review even if nothing happens; zero for at once
	again   time.Time             // when to renew even if the end does not move; zero for never
	anew    time.Time             // when all was last announced anew
	failing bool                  // the last look failed
	renamed string                // the name that the interface was said to have instead of its own
	deaf    bool                  // it was said that claims are not heard
	mute    bool                  // it was said that announcements are not sent
}

// Open returns the interface with this name. It checks that the interface
// exists, that this process may change its addresses and that an address with a
// prefix that others share cannot take them along when it goes. It starts no
// goroutine. Close must be called.
func Open(o Options) (*Interface, error) {
	return openShared(o, openRecord(o.Record, o.Managed))
}

// Check returns why Open would refuse the interface to this process, as it does all
// that Open does and changes nothing; and why the interface could not be used now, ""
// if it could.
func Check(name string, managed []netip.Prefix) (unready string, err error) {
	i, err := Open(Options{Name: name, Managed: managed})
	if err != nil {
		return "", err
	}
	_, unready = i.Ready()
	return unready, i.Close()
}

// openShared opens an interface that shares its record with others.
func openShared(o Options, r *record) (*Interface, error) {
	for _, p := range o.Managed {
		if err := promotes(o.Name, p); err != nil {
			return nil, err
		}
	}
	k, err := openKernel(o.Name)
	if err != nil {
		return nil, fmt.Errorf("open interface %s: %w", o.Name, err)
	}
	i, err := open(o, k, r)
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return i, nil
}

func open(o Options, k kernel, r *record) (*Interface, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Contested == nil {
		o.Contested = func(netip.Prefix, bool) {}
	}
	if o.Astray == nil {
		o.Astray = func(netip.Prefix, string) {}
	}
	i := &Interface{
		o: o, kernel: k, log: o.Log.With(zap.String("interface", o.Name)),
		managed: make(map[netip.Addr]netip.Prefix, len(o.Managed)),
		record:  r,
		wake:    make(chan struct{}, 1),
		serving: make(chan struct{}, 1),
		held:    map[netip.Addr]*binding{},
		left:    map[netip.Addr]bool{},
		fights:  map[netip.Addr]*fights{},
		told:    map[netip.Addr]string{},
	}
	i.ready.changed = make(chan struct{})
	for _, p := range o.Managed {
		i.managed[p.Addr()] = p
		i.fights[p.Addr()] = &fights{}
		o.Metrics.begin(p)
	}
	if err := i.look(true); err != nil {
		return nil, err
	}
	return i, nil
}

// Close frees the sockets. Run and every Hold must have returned.
func (i *Interface) Close() error { return i.kernel.Close() }

// Sweep removes what an earlier run left: managed addresses that are on the
// interface and not held, and on any interface of this host those that carry the mark
// of a run of berth and are managed, or in its record. What keep wants stays where it
// belongs. It returns after they are gone.
func (i *Interface) Sweep(keep func(netip.Prefix) bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	asked := time.Now()
	l, all, err := i.kernel.state(false)
	if err != nil {
		return fmt.Errorf("sweep %s: %w", i.o.Name, err)
	}
	i.see(l, all, asked)
	gone := map[int][]netip.Prefix{} // by index of the interface
	for _, a := range all {
		p, managed := i.managed[a.prefix.Addr()]
		here := a.on == l.index
		switch {
		case here && managed && (i.held[a.prefix.Addr()] != nil || keep(p)):
		case here && managed, managed && a.mortal(), i.record.left(a):
			gone[a.on] = append(gone[a.on], a.prefix)
		}
	}
	for index, addrs := range gone {
		if err := i.kernel.unbind(index, addrs); err != nil {
			return fmt.Errorf("sweep %s: %w", i.kernel.nameOf(index), err)
		}
		on := i.kernel.nameOf(index)
		for _, p := range addrs {
			i.log.Info("removed an address that an earlier run left here", zap.Stringer("address", p), zap.String("on", on))
		}
		i.record.remove(addrs, i.log)
	}
	if err := i.look(false); err != nil {
		return err
	}
	i.due = time.Time{}
	return nil
}

// Renewed says that the end has moved: soon the lifetimes follow. It never blocks.
func (i *Interface) Renewed() {
	i.renewed.Store(true)
	i.wakeUp()
}

// Moved says that an answer of Elsewhere may have changed. It never blocks.
func (i *Interface) Moved() {
	i.moved.Store(true)
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
