package names

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

var (
	unresolved = journal.Kind{Code: "name-not-resolved", Level: zap.WarnLevel,
		Text: "cannot look up a name; using the addresses of the last answer",
		Over: "a name can be looked up again"}
	fileIgnored = journal.Kind{Code: "names-ignored", Level: zap.WarnLevel,
		Text: "ignoring the stored addresses of names"}
	fileUnwritable = journal.Kind{Code: "names-unwritable", Level: zap.WarnLevel,
		Text: "cannot store the addresses of names for the next start",
		Over: "the addresses of names are stored for the next start again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{unresolved, fileIgnored, fileUnwritable}
