package app

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	ending = journal.Kind{Code: "berth-ending", Level: zap.InfoLevel,
		Text: "ending; floating IPs stay where they are"}
	unprotected = journal.Kind{Code: "berth-unprotected", Level: zap.WarnLevel,
		Text: "cannot protect berth from the kernel's out-of-memory killer"}
	fifoUnlockable = journal.Kind{Code: "fifo-lock-unusable", Level: zap.WarnLevel,
		Text: "cannot make sure that no other process reads the FIFO"}
	fifoNotUnlocked = journal.Kind{Code: "fifo-lock-not-released", Level: zap.WarnLevel,
		Text: "cannot unlock the FIFO"}
	eventSuperseded = journal.Kind{Code: "notify-superseded", Level: zap.InfoLevel,
		Text: "nothing to do"}
	seatNotLeft = journal.Kind{Code: "lease-record-not-left", Level: zap.WarnLevel,
		Text: "cannot remove the record of the lease, or unlock it"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{ending, unprotected, fifoUnlockable, fifoNotUnlocked, eventSuperseded, seatNotLeft}
