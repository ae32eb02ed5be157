package heartbeat

import (
	"context"
	"errors"
	"net/netip"
)

// Network is where datagrams travel.
type Network interface {
	// Listen opens a socket at host:port, or at all addresses of this host where the host
	// is empty. The error names the address.
	Listen(address string) (Conn, error)
}

// Conn is a UDP socket. Its methods may be called by several goroutines at once.
type Conn interface {
	// Wait returns nil when a datagram waits, the cause when ctx has ended, or why the
	// socket cannot be read. It may return nil when another goroutine took the datagram.
	Wait(ctx context.Context) error
	// Receive copies a datagram that waits into b, as much of it as fits, and returns its
	// length, its source and the address of this host to which it was sent. It never waits:
	// the error is ErrEmpty if no datagram does.
	Receive(b []byte) (size int, from netip.AddrPort, to netip.Addr, err error)
	// Send sends a datagram from an address of this host, or drops it: it never waits.
	Send(b []byte, from netip.Addr, to netip.AddrPort) error
	// Local returns the address of this host from which it reaches a peer, and whether
	// that peer is this host itself.
	Local(peer netip.Addr) (own netip.Addr, self bool, err error)
	Close() error
}

// ErrEmpty says that no datagram waits.
var ErrEmpty = errors.New("no datagram waits")
