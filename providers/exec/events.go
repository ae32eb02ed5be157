package exec

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

var programSays = journal.Kind{Code: "exec-program-says", Level: zap.InfoLevel,
	Text: "program says"}

// Events are the kinds that this package declares.
var Events = []journal.Kind{programSays}
