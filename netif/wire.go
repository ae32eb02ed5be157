package netif

import (
	"context"
	"errors"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// receivePause is the time after an error before the next attempt to receive. Each
// packet socket reports an error once when its interface goes down (packet(7)).
const receivePause = 100 * time.Millisecond

// sendBuffer holds the announcements of a thousand addresses, in bytes.
const sendBuffer = 4 << 20

// wire has the packet sockets: one for ARP, one for neighbour advertisements.
type wire struct {
	arp, na  *packet.Conn
	attached int // index of the interface
}

// naFilter passes neighbour advertisements alone: ICMPv6 messages of their type behind
// the IPv6 header. They have no extension headers.
var naFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: ethernetLen + 6, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6, SkipTrue: 3},
	bpf.LoadAbsolute{Off: ethernetLen + ipv6Len, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: naType, SkipTrue: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

// openWire opens the sockets on an interface.
func openWire(index int) (w *wire, err error) {
	w = &wire{attached: index}
	on := &net.Interface{Index: index}
	if w.arp, err = packet.Listen(on, packet.Raw, etherARP, nil); err != nil {
		return w, err
	}
	// Without the privilege the kernel refuses; then an announcement that does not fit is
	// sent again a little later.
	_ = control(w.arp, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer)
	})
	filter, err := bpf.Assemble(naFilter)
	if err != nil {
		return w, err
	}
	w.na, err = packet.Listen(on, packet.Raw, etherIPv6, &packet.Config{Filter: filter})
	return w, err
}

func (w *wire) close() (err error) {
	for _, c := range []*packet.Conn{w.arp, w.na} {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// attach binds the sockets to an interface: one that was deleted and made again under
// the same name has another index.
func (w *wire) attach(index int) error {
	if index == w.attached {
		return nil
	}
	for c, protocol := range map[*packet.Conn]uint16{w.arp: etherARP, w.na: etherIPv6} {
		err := control(c, func(fd int) error {
			return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bits.ReverseBytes16(protocol), Ifindex: index})
		})
		if err != nil {
			return err
		}
	}
	w.attached = index
	return nil
}

// send sends a frame and does not wait for room in the queue of the interface: an
// announcement that cannot be sent now is sent again.
func (w *wire) send(frame []byte) error {
	return control(w.arp, func(fd int) error {
		return unix.Sendto(fd, frame, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{
			Protocol: bits.ReverseBytes16(uint16(frame[12])<<8 | uint16(frame[13])), Ifindex: w.attached})
	})
}

// control calls f with the descriptor of a socket.
func control(c syscall.Conn, f func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}

// watch calls f for each claim until ctx ends.
func (w *wire) watch(ctx context.Context, f func(event)) {
	var wg sync.WaitGroup
	wg.Go(func() { receive(ctx, w.arp, etherARP, parseARP, f) })
	wg.Go(func() { receive(ctx, w.na, etherIPv6, parseNA, f) })
	wg.Wait()
}

// receiver is a packet socket.
type receiver interface {
	ReadFrom([]byte) (int, net.Addr, error)
	SetReadDeadline(time.Time) error
}

// receive calls f for each claim that a socket receives, for each error, and for the
// first frame after an error, until ctx ends.
func receive(ctx context.Context, c receiver, protocol uint16, parse func([]byte) (netip.Addr, net.HardwareAddr, bool), f func(event)) {
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	failed := false
	for buffer := make([]byte, 2048); ctx.Err() == nil; {
		n, _, err := c.ReadFrom(buffer)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, os.ErrDeadlineExceeded) {
				failed = true
				f(event{kind: notReceived, protocol: protocol, err: err})
			}
			select {
			case <-ctx.Done():
			case <-time.After(receivePause):
			}
			c.SetReadDeadline(time.Time{}) // one in the past may be left by an earlier watch
			continue
		}
		if failed {
			failed = false
			f(event{kind: received, protocol: protocol})
		}
		if a, mac, ok := parse(buffer[:n]); ok {
			f(event{kind: claimed, claimed: a, mac: mac})
		}
	}
}
