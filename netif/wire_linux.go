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

// pause is how long a reader waits after an error, such as the one that each
// packet socket reports once when its interface goes down (packet(7)).
const pause = 100 * time.Millisecond

// sendBuffer holds the announcements of a thousand addresses.
const sendBuffer = 4 << 20

// wire has the packet sockets: one for ARP, one for neighbour advertisements.
type wire struct {
	arp, na  *packet.Conn
	attached int // index of the interface
}

// naFilter lets ICMPv6 messages of the type of a neighbour advertisement pass,
// without extension headers, which such messages do not have.
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
	// Refused without privilege; then what does not fit is announced again a little
	// later.
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

// attach moves the sockets to an interface: one that was made again under the
// same name has another index.
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

// send does not wait for room in the queue: an announcement that is late is
// worth nothing, and another follows.
func (w *wire) send(frame []byte) error {
	return control(w.arp, func(fd int) error {
		return unix.Sendto(fd, frame, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{
			Protocol: bits.ReverseBytes16(uint16(frame[12])<<8 | uint16(frame[13])), Ifindex: w.attached})
	})
}

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
	wg.Go(func() { listen(ctx, w.arp, parseARP, f) })
	wg.Go(func() { listen(ctx, w.na, parseNA, f) })
	wg.Wait()
}

func listen(ctx context.Context, c *packet.Conn, parse func([]byte) (netip.Addr, net.HardwareAddr, bool), f func(event)) {
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	said := false
	for buffer := make([]byte, 2048); ctx.Err() == nil; {
		n, _, err := c.ReadFrom(buffer)
		if err != nil {
			if !said && ctx.Err() == nil && !errors.Is(err, unix.ENETDOWN) && !errors.Is(err, os.ErrDeadlineExceeded) {
				said = true
				f(event{kind: unheard, err: err})
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			c.SetReadDeadline(time.Time{}) // left by an earlier watch
			continue
		}
		if a, mac, ok := parse(buffer[:n]); ok {
			f(event{kind: claimed, claimed: a, mac: mac})
		}
	}
}
