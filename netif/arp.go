package netif

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Numbers of Ethernet and ARP (RFC 826).
const (
	ethernetLen = 14
	arpLen      = 28
	etherARP    = 0x0806
	etherIPv6   = 0x86dd
	arpRequest  = 1
	arpReply    = 2
)

var (
	broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	zeroMAC   = make(net.HardwareAddr, 6)
)

func ethernet(to, from net.HardwareAddr, kind uint16, payload []byte) []byte {
	b := make([]byte, 0, ethernetLen+len(payload))
	b = append(append(b, to...), from...)
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

// arpFrame returns the frame of an ARP broadcast.
func arpFrame(op uint16, senderMAC net.HardwareAddr, sender netip.Addr, targetMAC net.HardwareAddr, target netip.Addr) []byte {
	b := make([]byte, 0, arpLen)
	b = append(b, 0, 1, 8, 0, 6, 4) // Ethernet, IPv4, lengths of their addresses
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, senderMAC...), sender.AsSlice()...)
	b = append(append(b, targetMAC...), target.AsSlice()...)
	return ethernet(broadcast, senderMAC, etherARP, b)
}

// gratuitous returns the two forms of a gratuitous ARP: hosts differ in which of them
// they honour (RFC 5227, section 3).
func gratuitous(a netip.Addr, mac net.HardwareAddr) [][]byte {
	return [][]byte{
		arpFrame(arpRequest, mac, a, zeroMAC, a),
		arpFrame(arpReply, mac, a, broadcast, a),
	}
}

// arpProbe returns an ARP probe, which asks whether another host has the address
// without claiming it (RFC 5227, section 2.1.1).
func arpProbe(a netip.Addr, mac net.HardwareAddr) []byte {
	return arpFrame(arpRequest, mac, netip.IPv4Unspecified(), zeroMAC, a)
}

// parseARP returns the address that the sender of a frame claims, and its hardware
// address. A probe claims none.
func parseARP(frame []byte) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	if len(frame) < ethernetLen+arpLen || binary.BigEndian.Uint16(frame[12:]) != etherARP {
		return a, nil, false
	}
	b := frame[ethernetLen:]
	if [6]byte(b) != [6]byte{0, 1, 8, 0, 6, 4} {
		return a, nil, false
	}
	if op := binary.BigEndian.Uint16(b[6:]); op != arpRequest && op != arpReply {
		return a, nil, false
	}
	a = netip.AddrFrom4([4]byte(b[14:18]))
	return a, net.HardwareAddr(append([]byte(nil), b[8:14]...)), !a.IsUnspecified()
}
