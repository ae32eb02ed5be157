package health

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var unhealthy = journal.Kind{Code: "health-check-failed", Level: zap.WarnLevel,
	Text: "a health check has failed too often in a row", Over: "the health check is good again"}

// Events are the kinds that this package declares.
var Events = []journal.Kind{unhealthy}
