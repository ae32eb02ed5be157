package instance

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	stateChanged = journal.Kind{Code: "instance-state-changed", Level: zap.InfoLevel,
		Text: "state changed"}
	withdrawn = journal.Kind{Code: "instance-withdrawn", Level: zap.WarnLevel,
		Text: "no longer acting as MASTER"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{stateChanged, withdrawn}
