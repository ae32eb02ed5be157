package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveBuffer is how much the kernel may store for a process that does not run for a
// moment while others flood its port: at 10,000 datagrams per second, that of half a
// second. The kernel doubles the number (socket(7), SO_RCVBUF).
const receiveBuffer = 4 << 20

// kernel is UDP of the Linux kernel.
type kernel struct{}

// Listen is that of Network. An address that the host does not have yet can be listened
// at, too: interfaces appear later than berth.
func (kernel) Listen(address string) (Conn, error) {
	var failure error
	lc := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		err := raw.Control(func(fd uintptr) { failure = prepare(int(fd), network) })
		return errors.Join(err, failure)
	}}
	pc, err := lc.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for heartbeats at UDP %s: %w", address, bare(err))
	}
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen for heartbeats at UDP %s: %w", address, err)
	}
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	u := &udp{conn: conn, raw: raw}
	if !bound.IsUnspecified() {
		u.bound = bound
	}
	err = raw.Control(func(fd uintptr) {
		domain, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		u.six = domain == unix.AF_INET6
	})
	return u, err
}

// bare returns the error of the system, without the operation and the address that the
// caller names.
func bare(err error) error {
	var failed *net.OpError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// prepare sets the options of a socket that is not bound yet.
func prepare(fd int, network string) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		// Without CAP_NET_ADMIN: as much as the system allows.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if strings.HasSuffix(network, "6") {
		_ = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1))
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1)
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_PKTINFO, 1))
}

// udp is a socket of the kernel.
type udp struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	six   bool       // its family is IPv6, which carries IPv4 as mapped addresses
	bound netip.Addr // the address at which it listens, invalid for all
}

// Wait is that of Conn.
func (u *udp) Wait(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = u.conn.SetReadDeadline(time.Unix(1, 0)) })()
	var failure error
	var one [1]byte
	err := u.raw.Read(func(fd uintptr) bool {
		_, _, failure = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return !errors.Is(failure, unix.EAGAIN) && !errors.Is(failure, unix.EINTR)
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return os.NewSyscallError("recvfrom", errors.Join(err, failure))
}

// Receive is that of Conn. It reads beside a Wait, which would lock Read out.
func (u *udp) Receive(b []byte) (size int, from netip.AddrPort, to netip.Addr, err error) {
	var control [64]byte
	var controlSize int
	var source unix.Sockaddr
	failure := u.raw.Control(func(fd uintptr) {
		for {
			size, controlSize, _, source, err = unix.Recvmsg(int(fd), b, control[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	switch {
	case failure != nil:
		return 0, from, to, failure
	case errors.Is(err, unix.EAGAIN):
		return 0, from, to, ErrEmpty
	case err != nil:
		return 0, from, to, os.NewSyscallError("recvmsg", err)
	}
	switch s := source.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		from = netip.AddrPortFrom(netip.AddrFrom16(s.Addr).Unmap(), uint16(s.Port))
	}
	return size, from, destination(control[:controlSize]), nil
}

// destination returns the local address of a datagram (ip(7) and ipv6(7)).
func destination(control []byte) netip.Addr {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		switch {
		case header.Level == unix.SOL_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
			return netip.AddrFrom4(info.Spec_dst)
		case header.Level == unix.SOL_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			return netip.AddrFrom16(info.Addr).Unmap()
		}
		control = rest
	}
	return netip.Addr{}
}

// Send is that of Conn.
func (u *udp) Send(b []byte, from netip.Addr, to netip.AddrPort) (err error) {
	peer, control, err := u.address(from, to)
	if err != nil {
		return err
	}
	failure := u.raw.Control(func(fd uintptr) {
		_, err = unix.SendmsgN(int(fd), b, control, peer, unix.MSG_DONTWAIT)
	})
	return errors.Join(failure, os.NewSyscallError("sendmsg", err))
}

// address returns the address of a peer for the family of the socket, and the control
// message that names the source.
func (u *udp) address(from netip.Addr, to netip.AddrPort) (unix.Sockaddr, []byte, error) {
	if !u.six {
		if !to.Addr().Is4() {
			return nil, nil, fmt.Errorf("send to %v: %w", to.Addr(), unix.EAFNOSUPPORT)
		}
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4()}), nil
	}
	peer := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if zone := to.Addr().Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, nil, fmt.Errorf("find interface %s: %w", zone, bare(err))
		}
		peer.ZoneId = uint32(link.Index)
	}
	return peer, unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16(), Ifindex: peer.ZoneId}), nil
}

// Local is that of Conn. It asks the kernel's routes, by connecting a socket that sends
// nothing.
func (u *udp) Local(peer netip.Addr) (own netip.Addr, self bool, err error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, 9)))
	if err != nil {
		return own, false, fmt.Errorf("find the route to %v: %w", peer, bare(err))
	}
	defer conn.Close()
	own = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap().WithZone("")
	switch {
	case own == peer.WithZone(""):
		return own, true, nil
	case !u.bound.IsValid():
		return own, false, nil
	case u.bound.Is4() != peer.Is4():
		return own, false, fmt.Errorf("the socket listens at %v, which cannot send to %v", u.bound, peer)
	}
	return u.bound.WithZone(""), u.bound == peer, nil
}

// Close is that of Conn.
func (u *udp) Close() error { return u.conn.Close() }
