package pool

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	memberUnable = journal.Kind{Code: "pool-member-unable", Level: zap.WarnLevel,
		Text: "this host cannot serve addresses of the pool; the other members get them", Over: "this host takes part in the pool"}
	assignmentChanged = journal.Kind{Code: "pool-assigned", Level: zap.InfoLevel,
		Text: "the addresses of the pool that are assigned to this host have changed"}
	listLost = journal.Kind{Code: "pool-list-lost", Level: zap.ErrorLevel,
		Text: "etcd has lost the list of the pool with its history; the last list stands. Put the addresses into etcd again (berth pool add)",
		Over: "the list of the pool is in etcd again"}
	keyForeign = journal.Kind{Code: "pool-key-foreign", Level: zap.WarnLevel,
		Text: "a key of the pool has no effect; correct or delete it"}
	addressTaken = journal.Kind{Code: "pool-address-taken", Level: zap.ErrorLevel,
		Text: "an address of the pool also stands elsewhere in the configuration of this host, which does not serve it for the pool; keep it in one place"}
	addressesUnusable = journal.Kind{Code: "pool-addresses-unusable", Level: zap.ErrorLevel, Distinct: true,
		Text: "this host cannot bind some addresses of the pool; trying again", Over: "all addresses of the pool can be bound"}
	listUnreadable = journal.Kind{Code: "pool-list-unreadable", Level: zap.WarnLevel,
		Text: "cannot read the list of the pool that the process before this one has stored"}
	listUnwritable = journal.Kind{Code: "pool-list-unwritable", Level: zap.WarnLevel,
		Text: "cannot store the list of the pool; if etcd loses it, a restart of berth does not know it", Over: "the list of the pool is stored again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{memberUnable, assignmentChanged, listLost, keyForeign, addressTaken, addressesUnusable, listUnreadable, listUnwritable}
