package notify

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	recordUnreadable = journal.Kind{Code: "instance-record-unreadable", Level: zap.WarnLevel,
		Text: "cannot tell which event is the newest; acting on this one"}
	recordUnwritable = journal.Kind{Code: "instance-record-unwritable", Level: zap.WarnLevel,
		Text: "cannot record the newest event; an older one whose process starts late may undo it"}
	configuredTwice = journal.Kind{Code: "instance-configured-twice", Level: zap.WarnLevel,
		Text: "another berth acts for this instance with a different configuration; keep one"}
	socketUnavailable = journal.Kind{Code: "instance-socket-unavailable", Level: zap.WarnLevel,
		Text: "the process of the next event cannot find this one by its socket"}
	formerEnding = journal.Kind{Code: "instance-former-process-ending", Level: zap.InfoLevel,
		Text: "ending the process of the former state"}
	formerKilled = journal.Kind{Code: "instance-former-process-killed", Level: zap.WarnLevel,
		Text: "killing the process of the former state"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{recordUnreadable, recordUnwritable, configuredTwice, socketUnavailable, formerEnding, formerKilled}
