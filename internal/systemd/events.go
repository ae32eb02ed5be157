package systemd

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	unreachable = journal.Kind{Code: "systemd-unreachable", Level: zap.WarnLevel,
		Text: "cannot notify systemd", Over: "systemd is notified again"}
	watchdogUnknown = journal.Kind{Code: "systemd-watchdog-unknown", Level: zap.WarnLevel,
		Text: "cannot read systemd's watchdog interval"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{unreachable, watchdogUnknown}
