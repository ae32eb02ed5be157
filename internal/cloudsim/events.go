package cloudsim

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var started = journal.Kind{Code: "simulator-started", Level: zap.InfoLevel, Text: "the simulated account exists"}

// Events are the kinds that this package declares.
var Events = []journal.Kind{started}
