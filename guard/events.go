package guard

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	lockUnusable = journal.Kind{Code: "lock-unusable", Level: zap.ErrorLevel,
		Text: "cannot lock the instance; acting without the lock"}
	formerUnusable = journal.Kind{Code: "lock-former-unusable", Level: zap.WarnLevel,
		Text: "cannot take the lock that earlier versions of berth have; one of them must not run beside this one"}
	notUnlocked = journal.Kind{Code: "lock-not-released", Level: zap.WarnLevel,
		Text: "cannot unlock the instance"}
	notRecorded = journal.Kind{Code: "lock-holder-unrecorded", Level: zap.WarnLevel,
		Text: "cannot record which process holds the lock; a notify script cannot find this process"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{lockUnusable, formerUnusable, notUnlocked, notRecorded}
