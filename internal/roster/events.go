package roster

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	unresolved = journal.Kind{Code: "roster-name-unresolved", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot look up a peer, which is no peer until its address is known", Over: "the address of the peer is known"}
	groupUnread = journal.Kind{Code: "roster-group-unread", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot read the group of the peers; those that were known remain", Over: "the group of the peers is read again"}
	alone = journal.Kind{Code: "roster-group-alone", Level: zap.WarnLevel,
		Text: "this host is the only running server of the group, so that no other takes over", Over: "the group has another running server"}
	unidentified = journal.Kind{Code: "roster-self-unknown", Level: zap.WarnLevel, Lasting: unidentifiedAfter,
		Text: "the provider does not tell which server this host is; heartbeats carry a random id", Over: "the id of this host is known"}
	changed       = journal.Kind{Code: "roster-peers", Level: zap.InfoLevel, Text: "the peers of this host"}
	memoryIgnored = journal.Kind{Code: "roster-memory-ignored", Level: zap.WarnLevel,
		Text: "cannot use the file that has the group of the peers as the process before this one knew it; this host waits until the group is read"}
	memoryUnwritten = journal.Kind{Code: "roster-memory-unwritten", Level: zap.WarnLevel,
		Text: "cannot write the group of the peers for the next process", Over: "the group of the peers is written again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{unresolved, groupUnread, alone, unidentified, changed, memoryIgnored, memoryUnwritten}
