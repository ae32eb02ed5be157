package fake

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

var (
	wouldPoint = journal.Kind{Code: "dry-run-would-point", Level: zap.InfoLevel,
		Text: "would point floating IP here"}
	wouldObserve = journal.Kind{Code: "dry-run-would-observe", Level: zap.InfoLevel,
		Text: "would observe whether floating IP points here"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{wouldPoint, wouldObserve}
