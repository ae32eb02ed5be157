// Package heartbeat decides which host is MASTER for a floating IP from what its peers
// say in UDP datagrams, without keepalived and without etcd. A Node is a service.Source:
// each floating IP is an instance of its own, whose name is the address.
//
// # Protocol
//
// Each host sends a datagram about each floating IP to each of its peers once per
// interval, with a jitter of a tenth. The form is that of exoip, so that exoip and berth
// can be peers (https://github.com/exoscale/exoip):
//
//	bytes  0-1   0x02 0x01
//	byte   2     priority; the lowest number wins
//	byte   3     the priority again
//	bytes  4-7   the floating IP, IPv4
//	bytes  8-23  id of the sender: the UUID of its server
//
// For an IPv6 floating IP the first bytes are 0x02 0x02, the address has 16 bytes, and the
// whole 36. A datagram has exactly the length of its form. With a key it is followed by
// a counter of 8 bytes and an HMAC-SHA256 of 32 bytes (RFC 2104) over a fixed label, the
// datagram, the counter, and source and destination address, each in 16 bytes.
//
// A peer lives for an address if a datagram about that address was heard from it within
// dead-ratio times interval. After a hold-off of that time and 100 ms, a host is MASTER
// unless a living peer ranks before it: by the lower priority number, then the lower
// address, then the lower id.
//
// # Limits
//
// The package calls no provider, and knows no address but those it is given. It answers
// no datagram that it refuses. Heartbeats alone cannot tell a dead peer from a cut cable:
// two hosts that do not hear each other are both MASTER.
package heartbeat
