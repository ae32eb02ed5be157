package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"

	"go.uber.org/zap"
)

// ErrLeave is the cause of a context with which Bind leaves the addresses on the
// interface, for the process that replaces this one. Their lifetimes go on.
var ErrLeave = errors.New("leaving the addresses to the next process")

// Options of an Interface. None of its functions may call the Interface.
type Options struct {
	// Name of the interface, which may be deleted and made again later. An interface
	// that is renamed while it has addresses keeps them, and is still used.
	Name string
	// Managed are the addresses that may be bound here for as long as the Interface
	// lives; Manage adds others. An address on the interface counts as one of them
	// whatever its prefix length is. No other address is ever touched, but for those that
	// an earlier run left on any interface.
	Managed  []netip.Prefix
	Announce Announce
	// End returns the time by which every bound address must be gone from this
	// host, with a monotonic reading. It is called before each binding and renewal.
	End func() time.Time
	// Elsewhere reports whether another host is known to be entitled to the address, so
	// that it may be removed here. It must return false while that is not known. Call
	// Moved when its answer becomes true.
	Elsewhere func(netip.Prefix) bool
	// Contested, which may be nil, is called when the disputes over an address become
	// so frequent that it is defended more rarely, and when that has ended. It must not
	// block.
	Contested func(p netip.Prefix, contested bool)
	// Astray, which may be nil, is called with the name of another interface of this
	// host that has the address although another host is entitled to it, so that both
	// answer for it; and with "" when that has ended. It must not block.
	Astray func(p netip.Prefix, iface string)

	// Record is the path of a file for what was bound, so that Sweep finds it after
	// a change of Managed; "" for none.
	Record  string
	Journal *journal.Journal // may be nil
	Metrics *Metrics         // may be nil
}

// Interface binds addresses to one interface. It is a condition.Condition, which holds
// while the interface can be used. Its methods may be called by several goroutines at
// once.
type Interface struct {
	o          Options
	kernel     kernel
	journal    *journal.Journal
	managed    atomic.Pointer[map[netip.Addr]netip.Prefix] // see allManaged
	record     *boundRecord
	wake       chan struct{} // one slot: reconcile is to be called
	renewed    atomic.Bool   // the end has moved since reconcile was called
	moved      atomic.Bool   // so may have an answer of Elsewhere
	reannounce atomic.Bool   // announcements may have been lost since reconcile was called

	// usable is apart from the rest so that an event of the link changes the condition
	// at once, even while another goroutine waits for the kernel.
	usable struct {
		sync.Mutex
		link  link
		unfit string // why the interface cannot be used although it is up
	}
	condition condition.Value

	// queue is apart too, so that the watch never waits.
	queue struct {
		sync.Mutex
		events []event
	}
	receiving map[uint16]*journal.Condition // by protocol; used by the watch alone
	watching  *journal.Condition

	// waiting has the requests of the calls of Bind that begin or end. One of the calls
	// serves all of them: the one that has put itself into the slot of serving.
	serving chan struct{}
	waiting struct {
		sync.Mutex
		requests []*request
	}

	mu         sync.Mutex
	link       link
	present    map[netip.Addr][]address // managed addresses on the interface, as observed last
	onOthers   map[netip.Addr][]address // managed addresses on other interfaces, as observed last
	bindings   map[netip.Addr]*binding
	handedOver map[netip.Addr]bool // left to the next process with ErrLeave
	disputes   map[netip.Addr]*disputes
	astray     map[netip.Addr]*astray
	unremoved  []netip.Prefix // what the last failed removal of expired addresses left here

	wanted  map[netip.Addr]netip.Prefix // what Manage was given last and took
	leaving map[netip.Addr]bool         // managed addresses that are not wanted as they are
	unfit   map[netip.Addr]error        // why an address beside Options.Managed may not be bound

	reconcileAt time.Time // even if nothing happens; zero for at once
	announceAt  time.Time // when the next announcement is due
	renewAt     time.Time // even if the end does not move; zero for never
	reannounced time.Time // when all addresses were announced anew

	observing, listening, naming, announcing, binding, removing, removingForeign *journal.Condition
}

// Open returns the interface with this name. It checks that the interface exists, that
// this process may change its addresses, and that the removal of an address does not
// remove others of its subnet. It starts no goroutine. Close must be called.
func Open(o Options) (*Interface, error) {
	o.complete()
	return openShared(o, openRecord(o.Record, o.Journal, o.Managed))
}

// Check returns the error with which Open would refuse the interface to this process,
// and the reason why the interface cannot be used now, "" if it can. It changes nothing.
func Check(name string, managed []netip.Prefix) (unready string, err error) {
	i, err := Open(Options{Name: name, Managed: managed})
	if err != nil {
		return "", err
	}
	_, unready = i.State()
	return unready, i.Close()
}

// complete sets the options that may be nil, except for the metrics.
func (o *Options) complete() {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	if o.Contested == nil {
		o.Contested = func(netip.Prefix, bool) {}
	}
	if o.Astray == nil {
		o.Astray = func(netip.Prefix, string) {}
	}
}

// openShared opens an interface that shares its record with others.
func openShared(o Options, r *boundRecord) (*Interface, error) {
	for _, p := range o.Managed {
		if err := promotes(o.Name, p); err != nil {
			return nil, fmt.Errorf("bind %v to %s: %w", p, o.Name, err)
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

func open(o Options, k kernel, r *boundRecord) (*Interface, error) {
	o.complete()
	j := o.Journal.With(zap.String("interface", o.Name))
	i := &Interface{
		o: o, kernel: k, journal: j,
		record:     r,
		wake:       make(chan struct{}, 1),
		serving:    make(chan struct{}, 1),
		receiving:  map[uint16]*journal.Condition{etherARP: j.Condition(), etherIPv6: j.Condition()},
		bindings:   map[netip.Addr]*binding{},
		handedOver: map[netip.Addr]bool{},
		disputes:   map[netip.Addr]*disputes{},
		astray:     map[netip.Addr]*astray{},
		leaving:    map[netip.Addr]bool{},
	}
	for _, c := range []**journal.Condition{&i.watching, &i.observing, &i.listening, &i.naming, &i.announcing, &i.binding, &i.removing, &i.removingForeign} {
		*c = j.Condition()
	}
	managed := make(map[netip.Addr]netip.Prefix, len(o.Managed))
	for _, p := range o.Managed {
		managed[p.Addr()] = p
		i.enter(p)
	}
	i.managed.Store(&managed)
	r.share(i)
	if err := i.observe(true); err != nil {
		return nil, err
	}
	return i, nil
}

// Close frees the sockets. Run and every call of Bind must have returned.
func (i *Interface) Close() error { return i.kernel.Close() }

// Renewed tells that the end has moved: the lifetimes of the addresses follow soon. It
// never blocks.
func (i *Interface) Renewed() {
	i.renewed.Store(true)
	i.wakeUp()
}

// Moved tells that an answer of Elsewhere may have changed. It never blocks.
func (i *Interface) Moved() {
	i.moved.Store(true)
	i.wakeUp()
}

// Announce tells that neighbours may have missed what was announced so far: all bound
// addresses are announced from the beginning, once in a second at most. It never
// blocks.
func (i *Interface) Announce() {
	i.reannounce.Store(true)
	i.wakeUp()
}

func (i *Interface) wakeUp() {
	select {
	case i.wake <- struct{}{}:
	default: // the slot is taken: reconcile will be called
	}
}
