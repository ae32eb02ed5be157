package seat

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	seatUnusable = journal.Kind{Code: "lease-record-unusable", Level: zap.ErrorLevel,
		Text: "cannot use the run directory; a restart of berth will not adopt its lease"}
	leaseUnreadable = journal.Kind{Code: "lease-record-unreadable", Level: zap.WarnLevel,
		Text: "cannot read the lease of the process before this one"}
	leaseUnwritable = journal.Kind{Code: "lease-record-unwritable", Level: zap.WarnLevel,
		Text: "cannot put the lease on record; a restart of berth will not adopt it", Over: "the lease is on record again"}
	historyUnreadable = journal.Kind{Code: "etcd-history-unreadable", Level: zap.WarnLevel,
		Text: "cannot read what was seen of etcd's history before; if etcd was restored from a backup since, this process does not notice"}
	historyUnwritable = journal.Kind{Code: "etcd-history-unwritable", Level: zap.WarnLevel,
		Text: "cannot put on record what was seen of etcd's history; if etcd is restored from a backup, berth does not notice after a restart",
		Over: "what is seen of etcd's history is on record again"}
	identityUnwritable = journal.Kind{Code: "member-identity-unwritable", Level: zap.WarnLevel,
		Text: "cannot store the identity of this host in the run directory; another berth of this host may count as another host of the same name"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{seatUnusable, leaseUnreadable, leaseUnwritable, historyUnreadable, historyUnwritable, identityUnwritable}
