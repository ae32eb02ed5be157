package heartbeat

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	peerHeard = journal.Kind{Code: "heartbeat-peer-heard", Level: zap.InfoLevel,
		Text: "a peer is heard for the first time"}
	peerSelf = journal.Kind{Code: "heartbeat-peer-self", Level: zap.InfoLevel,
		Text: "a peer in the list is this host itself; it is left out"}
	peerDead = journal.Kind{Code: "heartbeat-peer-dead", Level: zap.WarnLevel,
		Text: "a peer is not heard and counts as dead", Over: "the peer is heard again"}
	peerPartial = journal.Kind{Code: "heartbeat-peer-partial", Level: zap.WarnLevel, Distinct: true,
		Text: "a peer is heard about some of the addresses only", Over: "the peer is heard about all addresses"}
	peerUnreachable = journal.Kind{Code: "heartbeat-peer-unreachable", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot send heartbeats to a peer", Over: "heartbeats are sent to the peer again"}
	stoodStill = journal.Kind{Code: "heartbeat-standstill", Level: zap.WarnLevel,
		Text: "this process did not run for as long as the peers wait; it is BACKUP until it has had time to hear them"}
	ambiguous = journal.Kind{Code: "heartbeat-tie-ambiguous", Level: zap.WarnLevel, Distinct: true,
		Text: "peers with the priority of this host know it by different addresses; where the lower address would name no owner, this host steps back by one; give the hosts different priorities",
		Over: "the peers with the priority of this host know it by one address"}
	unreceived = journal.Kind{Code: "heartbeat-receive-failed", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot receive heartbeats", Over: "heartbeats are received again"}
	malformed = journal.Kind{Code: "heartbeat-malformed", Level: zap.WarnLevel, Distinct: true,
		Text: "datagrams other than heartbeats arrive and are ignored", Over: "no such datagram has come for a minute"}
	otherAddressKind = journal.Kind{Code: "heartbeat-address-unknown", Level: zap.WarnLevel, Distinct: true,
		Text: "heartbeats about an address that this host does not manage arrive and are ignored", Over: "no such datagram has come for a minute"}
	unknownSourceKind = journal.Kind{Code: "heartbeat-source-unknown", Level: zap.WarnLevel,
		Text: "heartbeats from an address that is not a peer arrive and are ignored", Over: "no such datagram has come for a minute"}
	ownKind = journal.Kind{Code: "heartbeat-own", Level: zap.WarnLevel, Distinct: true,
		Text: "heartbeats of this host itself, or of one with the same id, arrive and are ignored", Over: "no such datagram has come for a minute"}
	unsignedKind = journal.Kind{Code: "heartbeat-unsigned", Level: zap.ErrorLevel,
		Text: "a peer sends heartbeats without a signature, which are refused; give it the key, or set key-rollover until all hosts have it", Over: "no such datagram has come for a minute"}
	signedKind = journal.Kind{Code: "heartbeat-signed", Level: zap.ErrorLevel,
		Text: "a peer signs its heartbeats and this host has no key, so they are refused; set key-file here", Over: "no such datagram has come for a minute"}
	wrongSignatureKind = journal.Kind{Code: "heartbeat-signature-wrong", Level: zap.ErrorLevel,
		Text: "heartbeats with a wrong signature are refused; compare the key files of the hosts, and make sure that no address between them is translated", Over: "no such datagram has come for a minute"}
	replayedKind = journal.Kind{Code: "heartbeat-replayed", Level: zap.WarnLevel,
		Text: "signed heartbeats that are not newer than those before are refused", Over: "no such datagram has come for a minute"}
	countersUnreadable = journal.Kind{Code: "heartbeat-counters-unreadable", Level: zap.WarnLevel,
		Text: "cannot read the counters of signed heartbeats; an old datagram is accepted until a newer one of its sender has come"}
	countersUnwritable = journal.Kind{Code: "heartbeat-counters-unwritable", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot write the counters of signed heartbeats; after a restart an old datagram could be accepted", Over: "the counters of signed heartbeats are written again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{peerHeard, peerSelf, peerDead, peerPartial, peerUnreachable, stoodStill, ambiguous, unreceived,
	malformed, otherAddressKind, unknownSourceKind, ownKind, unsignedKind, signedKind, wrongSignatureKind, replayedKind,
	countersUnreadable, countersUnwritable}
