package reading

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

// These are problems of keepalived.conf. The field in_force says what berth acts on
// meanwhile.
var (
	unreadable = journal.Kind{Code: "keepalived-conf-unreadable", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot read keepalived's configuration", Over: readAgain}
	doubtful = journal.Kind{Code: "keepalived-conf-doubtful", Level: zap.ErrorLevel, Distinct: true,
		Text: "keepalived's configuration is unfinished or would be refused", Over: readAgain}
	notLoaded = journal.Kind{Code: "keepalived-conf-not-loaded", Level: zap.InfoLevel, Distinct: true,
		Text: "keepalived's configuration was changed, and keepalived has not loaded it; what it has loaded stays in force", Over: "the configuration in force is the newest again"}
)

const readAgain = "keepalived's configuration is in order again; `berth show` lists its warnings"

var (
	read = journal.Kind{Code: "keepalived-conf-read", Level: zap.InfoLevel,
		Text: "keepalived's configuration was read; `berth show` lists its warnings"}
	unverifiable = journal.Kind{Code: "instance-unverifiable", Level: zap.WarnLevel,
		Text: "cannot verify the instance: keepalived's configuration is unreadable or unfinished"}
	// immovable never ends: what kind of address it is does not change.
	immovable = journal.Kind{Code: "address-immovable", Level: zap.InfoLevel,
		Text: "the address is never handed to a provider"}
	notRetained = journal.Kind{Code: "keepalived-conf-not-saved", Level: zap.WarnLevel,
		Text: "cannot save the last good reading of keepalived's configuration for the next start of berth", Over: "the last good reading of keepalived's configuration is saved again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{unreadable, doubtful, notLoaded, read, unverifiable, immovable, notRetained}
