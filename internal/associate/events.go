package associate

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

var (
	notMoved = journal.Kind{Code: "associate-failing", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot move the address yet; trying again", Over: "the address is as wanted"}
	concerned = journal.Kind{Code: "associate-concern", Level: zap.WarnLevel,
		Text: "the address may not stay where the command puts it"}
	forced = journal.Kind{Code: "associate-forced", Level: zap.WarnLevel,
		Text: "moving the address against the owner in etcd, because of --force"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{notMoved, concerned, forced}
