package added

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	addressEvent = journal.Kind{Code: "ip-event", Level: zap.InfoLevel, Text: "an event of an added address"}
	listChanged  = journal.Kind{Code: "ips-changed", Level: zap.InfoLevel, Text: "the addresses that are added to this member have changed"}
	keyForeign   = journal.Kind{Code: "ip-key-foreign", Level: zap.WarnLevel,
		Text: "a key of an added address, or its value, has no effect; correct or delete it"}
	addressTaken = journal.Kind{Code: "ip-taken", Level: zap.ErrorLevel,
		Text: "an added address also stands in the configuration of this host, which does not serve it as an added one; keep it in one place"}
	addressesUnusable = journal.Kind{Code: "ips-unusable", Level: zap.ErrorLevel, Distinct: true,
		Text: "this host cannot bind some added addresses; trying again", Over: "all added addresses can be bound"}
	listLost = journal.Kind{Code: "ips-lost", Level: zap.ErrorLevel,
		Text: "the addresses that were added to this member are not in etcd, because its history has broken; berth writes them again",
		Over: "the added addresses are in etcd again"}
	listRefused = journal.Kind{Code: "ips-not-rewritten", Level: zap.ErrorLevel, Distinct: true,
		Text: "etcd does not take the addresses that were added to this member; trying again", Over: "etcd takes the added addresses"}
	listUnreadable = journal.Kind{Code: "ips-unreadable", Level: zap.WarnLevel,
		Text: "cannot read the added addresses that the process before this one has stored"}
	listUnwritable = journal.Kind{Code: "ips-unwritable", Level: zap.WarnLevel,
		Text: "cannot store the added addresses; if etcd loses them, a restart of berth does not know them", Over: "the added addresses are stored again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{addressEvent, listChanged, keyForeign, addressTaken, addressesUnusable, listLost, listRefused, listUnreadable, listUnwritable}
