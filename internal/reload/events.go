package reload

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	read = journal.Kind{Code: "configuration-reloaded", Level: zap.InfoLevel,
		Text: "the configuration was read again"}
	// Refused says that a configuration is not good enough to be put in force.
	Refused = journal.Kind{Code: "configuration-refused", Level: zap.ErrorLevel,
		Text: "the configuration was not read again; the former stays in force"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{read, Refused}
