package config

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var secretReadable = journal.Kind{Code: "secret-readable", Level: zap.WarnLevel,
	Text: "every user can read a configuration file that has a secret in it; run: chmod o= FILE"}

// Events are the kinds that this package declares.
var Events = []journal.Kind{secretReadable}
