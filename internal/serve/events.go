package serve

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	served = journal.Kind{Code: "metrics-served", Level: zap.InfoLevel,
		Text: "metrics are served"}
	unservable = journal.Kind{Code: "metrics-unservable", Level: zap.WarnLevel,
		Text: "cannot serve metrics; trying again", Over: served.Text}
	unwritable = journal.Kind{Code: "metrics-unwritable", Level: zap.WarnLevel,
		Text: "cannot write metrics; trying again", Over: "metrics are written again"}
	left = journal.Kind{Code: "metrics-left", Level: zap.WarnLevel,
		Text: "cannot remove metrics"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{served, unservable, unwritable, left}
