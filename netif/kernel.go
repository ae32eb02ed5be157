package netif

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// kernel is what an Interface needs of the system. The Interface makes one call at a
// time, but for watch, which runs beside the others.
type kernel interface {
	// state returns the interface, with index 0 while there is none, and the addresses
	// of all interfaces of this host. The interface is the one that was returned last
	// for as long as the kernel has it, even under another name, and then the one with
	// the configured name. With follow, an interface that has the configured name now
	// goes before one that has lost it.
	state(follow bool) (link, []address, error)
	// promotes returns an error if the removal of an address from an interface would
	// remove others.
	promotes(name string, p netip.Prefix) error
	// nameOf returns the name of any interface, for people.
	nameOf(index int) string
	// bind gives addresses of an interface, there already or not, this many seconds to
	// live from now, without a pause between them. It returns what the kernel answered
	// to each.
	bind(l link, addrs []netip.Prefix, seconds int) []error
	// unbind removes addresses from an interface. An address that is not there is not
	// an error; of IPv4, another prefix length of the same address may be removed in
	// its place.
	unbind(index int, addrs []netip.Prefix) error
	// send sends an Ethernet frame. It never blocks.
	send(frame []byte) error
	// watch calls f with what happens, in order, until ctx ends, and returns its cause,
	// or an error if it cannot go on. It may be called again then, and begins with
	// missed. f may be called by several goroutines.
	watch(ctx context.Context, f func(event)) error
	// Close frees the sockets of the other methods.
	Close() error
}

// link is the state of the interface.
type link struct {
	index       int // 0: the interface does not exist
	name        string
	up, carrier bool
	mac         net.HardwareAddr // nil where there is no Ethernet, or no ARP
	listenErr   error            // why the packet sockets are not bound to it
}

func (l link) ready() bool { return l.index != 0 && l.up && l.carrier }

// address is one of this host.
type address struct {
	on        int // index of its interface
	prefix    netip.Prefix
	valid     time.Duration // left of its lifetime when it was read, forever for one without an end
	seen      time.Time     // when the kernel was asked for it
	proto     uint8         // IFA_PROTO: the program that made it
	duplicate bool          // duplicate address detection failed: not usable
}

// mayBeOurs reports whether berth may have bound an address, in this run or an
// earlier one. A kernel before Linux 5.18 keeps no mark; there only the limited
// lifetime tells.
func (a address) mayBeOurs() bool {
	return a.valid != forever && (a.proto == protocol || a.proto == 0)
}

const forever time.Duration = 1<<63 - 1

// event is what watch reports.
type event struct {
	kind     eventKind
	link     link             // of linkChanged
	address  address          // of added and deleted
	expired  bool             // of deleted: its lifetime has ended
	claimed  netip.Addr       // of claimed
	mac      net.HardwareAddr // of claimed: of the host that claims it
	protocol uint16           // of notReceived and received: etherARP or etherIPv6
	err      error            // of notReceived
}

type eventKind int

const (
	linkChanged eventKind = iota
	added                 // or changed
	deleted
	claimed     // by ARP or neighbour advertisement
	missed      // some events are lost
	notReceived // frames of a protocol cannot be received
	received    // they can again
)
