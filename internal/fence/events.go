package fence

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

// The end is not told: package election tells that this host became the owner, and
// package instance that it is not MASTER any more.
var withheld = journal.Kind{Code: "instance-withheld", Level: zap.WarnLevel, Distinct: true,
	Text: "MASTER, but not acting"}

// Events are the kinds that this package declares.
var Events = []journal.Kind{withheld}
