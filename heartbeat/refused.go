package heartbeat

import (
	"net/netip"
	"time"

	"berth/internal/journal"
)

// reason is why a datagram has no effect, or accepted.
type reason uint8

const (
	accepted reason = iota
	wrongLength
	wrongVersion
	wrongPriority
	otherAddress
	unknownSource
	ownSource
	ownID
	unsigned
	signedWithoutKey
	wrongSignature
	replayed
	reasons // the number of them
)

// refusal is how a reason is told.
type refusal struct {
	label string // of the metric
	kind  journal.Kind
	text  string
}

// refusals have an entry for each reason.
var refusals = [reasons]refusal{
	accepted:         {label: "accepted"},
	wrongLength:      {"length", malformed, "its length is not that of a heartbeat"},
	wrongVersion:     {"version", malformed, "it has another version of the protocol, or another protocol"},
	wrongPriority:    {"priority", malformed, "its two priorities differ"},
	otherAddress:     {"address", otherAddressKind, "it is about another address"},
	unknownSource:    {"source", unknownSourceKind, "its source is not a peer"},
	ownSource:        {"own-source", ownKind, "its source is an address of this host"},
	ownID:            {"own-id", ownKind, "it has the id of this host"},
	unsigned:         {"unsigned", unsignedKind, "it has no signature"},
	signedWithoutKey: {"signed", signedKind, "it has a signature"},
	wrongSignature:   {"signature", wrongSignatureKind, "its signature is wrong"},
	replayed:         {"replayed", replayedKind, "its counter is not above that of an earlier one"},
}

// quiet is how long no datagram must be refused for a reason until that counts as over.
const quiet = time.Minute

// sample is the newest datagram that was refused for a reason.
type sample struct {
	from netip.AddrPort
	at   time.Time
}
