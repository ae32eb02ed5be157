package faults

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// The kinds of frames that matter to the lab.
const (
	other        = iota
	announcement // of an address by a host
	answer       // to an echo request of a probe
)

// A frame is one that arrived at the client, as far as it matters to the lab.
type frame struct {
	kind    int
	from    [6]byte    // hardware address of the sender
	address netip.Addr // announced, or that has answered
	number  uint64     // of the request answered
}

// echoID marks the lab's echo requests.
const echoID = 0x6265

// echoRequest returns an ICMP or ICMPv6 echo request. The kernel fills in the
// checksum of the latter (RFC 3542, section 3.1).
func echoRequest(to netip.Addr, number uint64) []byte {
	kind := byte(8) // RFC 792
	if to.Is6() {
		kind = 128 // RFC 4443, section 4.1
	}
	b := []byte{kind, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, echoID)
	b = binary.BigEndian.AppendUint16(b, uint16(number))
	b = binary.BigEndian.AppendUint64(b, number) // the sequence number wraps after 11 minutes
	if to.Is4() {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// checksum is that of RFC 1071, of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// parseFrame reads an Ethernet frame.
func parseFrame(b []byte) (f frame) {
	if len(b) < 14 {
		return f
	}
	copy(f.from[:], b[6:12])
	toMany := b[0]&1 != 0
	switch payload := b[14:]; binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		// A gratuitous ARP packet names its sender as the target too, whether it is a
		// request or a reply (RFC 5227, section 3).
		if toMany && len(payload) >= 28 && string(payload[14:18]) == string(payload[24:28]) {
			f.kind, f.address = announcement, netip.AddrFrom4([4]byte(payload[14:18]))
		}
	case unix.ETH_P_IP:
		if len(payload) < 20 || payload[9] != unix.IPPROTO_ICMP {
			return f
		}
		if header := int(payload[0]&15) * 4; len(payload) >= header {
			f.echoReply(payload[header:], 0, netip.AddrFrom4([4]byte(payload[12:16])))
		}
	case unix.ETH_P_IPV6:
		if len(payload) < 40 || payload[6] != unix.IPPROTO_ICMPV6 {
			return f
		}
		icmp := payload[40:]
		if toMany && len(icmp) >= 24 && icmp[0] == 136 { // neighbour advertisement, RFC 4861, section 4.4
			f.kind, f.address = announcement, netip.AddrFrom16([16]byte(icmp[8:24]))
			return f
		}
		f.echoReply(icmp, 129, netip.AddrFrom16([16]byte(payload[8:24])))
	}
	return f
}

func (f *frame) echoReply(icmp []byte, kind byte, from netip.Addr) {
	if len(icmp) >= 16 && icmp[0] == kind && binary.BigEndian.Uint16(icmp[4:]) == echoID {
		f.kind, f.address, f.number = answer, from, binary.BigEndian.Uint64(icmp[8:])
	}
}

// capture opens a socket that gets every frame of a link. To be called in the
// link's network.
func capture(link string) (int, error) {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return -1, err
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)) // in network order, packet(7)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
	if err != nil {
		return -1, err
	}
	// The usual buffer holds some three hundred of a thousand announcements that
	// are made at once.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
		unix.Close(fd)
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// dropped reports whether frames were lost since the last call because they were
// not read in time, see PACKET_STATISTICS in packet(7).
func dropped(socket *os.File) bool {
	lost := false
	if c, err := socket.SyscallConn(); err == nil {
		// The file is closed with the lab, which needs no history then.
		_ = c.Control(func(fd uintptr) {
			st, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
			lost = err == nil && st.Drops > 0
		})
	}
	return lost
}
