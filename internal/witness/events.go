package witness

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var unreachable = journal.Kind{Code: "witness-unreachable", Level: zap.WarnLevel,
	Text: "cannot reach the witness; until it is reached, this host owns no address", Over: "the witness is reached again"}

// Events are the kinds that this package declares.
var Events = []journal.Kind{unreachable}
