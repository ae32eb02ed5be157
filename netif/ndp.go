package netif

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/ndp"
)

const (
	ipv6Len   = 40
	icmpv6    = 58
	naType    = 136 // neighbour advertisement
	naMinimum = 24  // without options
)

var allNodes = netip.MustParseAddr("ff02::1")

// unsolicited returns an unsolicited neighbour advertisement: to all nodes, with
// the override flag, without the solicited flag (RFC 4861, section 7.2.6), from
// the address itself, so that the interface needs no other.
func unsolicited(a netip.Addr, mac net.HardwareAddr) ([]byte, error) {
	return ndpFrame(&ndp.NeighborAdvertisement{
		Override:      true,
		TargetAddress: a,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}, mac, a, allNodes)
}

// ndpProbe returns a neighbour solicitation that asks whether another host has the
// address, as duplicate address detection does (RFC 4862, section 5.4.2).
func ndpProbe(a netip.Addr, mac net.HardwareAddr) ([]byte, error) {
	group, err := ndp.SolicitedNodeMulticast(a)
	if err != nil {
		return nil, err
	}
	return ndpFrame(&ndp.NeighborSolicitation{TargetAddress: a}, mac, netip.IPv6Unspecified(), group)
}

func ndpFrame(m ndp.Message, mac net.HardwareAddr, from, to netip.Addr) ([]byte, error) {
	body, err := ndp.MarshalMessageChecksum(m, from, to)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, ipv6Len+len(body))
	b = append(b, 6<<4, 0, 0, 0) // version 6
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, icmpv6, ndp.HopLimit)
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	last := to.As16()
	return ethernet(net.HardwareAddr{0x33, 0x33, last[12], last[13], last[14], last[15]}, mac, etherIPv6, append(b, body...)), nil
}

// parseNA returns the target address of a neighbour advertisement, and the hardware
// address of the host that has it. A hop limit other than 255 means that a router
// forwarded the packet, which makes it invalid (RFC 4861, section 7.1.2).
func parseNA(frame []byte) (a netip.Addr, mac net.HardwareAddr, ok bool) {
	if len(frame) < ethernetLen+ipv6Len+naMinimum || binary.BigEndian.Uint16(frame[12:]) != etherIPv6 {
		return a, nil, false
	}
	b := frame[ethernetLen:]
	if b[6] != icmpv6 || b[7] != ndp.HopLimit || b[ipv6Len] != naType {
		return a, nil, false
	}
	end := ipv6Len + int(binary.BigEndian.Uint16(b[4:]))
	if end > len(b) { // padding may follow the packet, but no part of it may be missing
		return a, nil, false
	}
	m, err := ndp.ParseMessage(b[ipv6Len:end])
	if err != nil {
		return a, nil, false
	}
	na, ok := m.(*ndp.NeighborAdvertisement)
	if !ok {
		return a, nil, false
	}
	mac = net.HardwareAddr(append([]byte(nil), frame[6:12]...))
	for _, o := range na.Options {
		if l, is := o.(*ndp.LinkLayerAddress); is && l.Direction == ndp.Target {
			mac = l.Addr
		}
	}
	return na.TargetAddress, mac, true
}
