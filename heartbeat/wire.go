package heartbeat

import (
	"bytes"
	"net/netip"
)

// The sizes of the parts of a datagram, in bytes.
const (
	headSize    = 4 // version, and the priority twice
	idSize      = len(ID{})
	size4       = headSize + 4 + idSize
	size6       = headSize + 16 + idSize
	counterSize = 8
	macSize     = 32
	trailerSize = counterSize + macSize
	maxSize     = size6 + trailerSize
)

// The versions of the protocol: exoip's, and berth's own for IPv6 floating IPs.
var (
	version4 = [2]byte{2, 1}
	version6 = [2]byte{2, 2}
)

// message is what a datagram says.
type message struct {
	address  netip.Addr // the floating IP
	priority uint8
	id       ID
}

// append appends the datagram without a trailer to b. The address is no IPv4-mapped one.
func (m message) append(b []byte) []byte {
	version := version4
	if m.address.Is6() {
		version = version6
	}
	b = append(b, version[0], version[1], m.priority, m.priority)
	b = append(b, m.address.AsSlice()...)
	return append(b, m.id[:]...)
}

// parse reads a datagram, and returns the bytes that a trailer would sign, and the
// trailer, nil for none. For anything but a datagram of exactly one of the forms it
// returns the reason for which it is refused; accepted is none.
func parse(b []byte) (m message, body, trailer []byte, why reason) {
	size := 0
	switch len(b) {
	case size4, size4 + trailerSize:
		size = size4
	case size6, size6 + trailerSize:
		size = size6
	default:
		return m, nil, nil, wrongLength
	}
	version := version4
	if size == size6 {
		version = version6
	}
	if !bytes.Equal(b[:2], version[:]) {
		return m, nil, nil, wrongVersion
	}
	if b[2] != b[3] {
		return m, nil, nil, wrongPriority
	}
	m.priority = b[2]
	m.address, _ = netip.AddrFromSlice(b[headSize : size-idSize])
	if m.address.Is4In6() {
		return message{}, nil, nil, wrongVersion // IPv4 has a form of its own
	}
	copy(m.id[:], b[size-idSize:size])
	if len(b) > size {
		trailer = b[size:]
	}
	return m, b[:size], trailer, accepted
}
