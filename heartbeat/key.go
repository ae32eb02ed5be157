package heartbeat

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// keyLabel makes a signature of use in this protocol alone.
const keyLabel = "berth heartbeat 1\x00"

// sign appends the trailer of a datagram to b, which holds that datagram alone.
func sign(key, b []byte, counter uint64, from, to netip.Addr) []byte {
	b = binary.BigEndian.AppendUint64(b, counter)
	return append(b, mac(key, b, from, to)...)
}

// verify returns the counter of a signed datagram, and whether the signature is that of
// the key for these addresses. body and trailer are those of parse.
func verify(key, body, trailer []byte, from, to netip.Addr) (counter uint64, ok bool) {
	counter = binary.BigEndian.Uint64(trailer)
	signed := body[:len(body)+counterSize] // the trailer follows the body
	return counter, hmac.Equal(trailer[counterSize:], mac(key, signed, from, to))
}

// mac returns the HMAC over the label, a datagram with its counter, and the addresses
// between which it travels. Each datagram has one of two lengths, so that no other
// division of the same bytes has the same sum.
func mac(key, signed []byte, from, to netip.Addr) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(keyLabel))
	h.Write(signed)
	for _, a := range []netip.Addr{from, to} {
		bytes := a.As16()
		h.Write(bytes[:])
	}
	return h.Sum(nil)
}
