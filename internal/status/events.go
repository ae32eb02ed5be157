package status

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var unwritable = journal.Kind{Code: "status-unwritable", Level: zap.WarnLevel,
	Text: "cannot write the status files; berth status shows what was written last", Over: "the status files are written again"}

// Events are the kinds that this package declares.
var Events = []journal.Kind{unwritable}
