package systemd

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	unreachable = journal.Kind{Code: "systemd-unreachable", Level: zap.WarnLevel,
		Text: "cannot tell systemd", Over: "systemd is told again"}
	watchdogUnknown = journal.Kind{Code: "systemd-watchdog-unknown", Level: zap.WarnLevel,
		Text: "cannot tell what systemd's watchdog wants"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{unreachable, watchdogUnknown}
