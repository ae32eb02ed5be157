package presence

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	unreadable = journal.Kind{Code: "keepalived-addresses-unreadable", Level: zap.WarnLevel,
		Text: "cannot read the addresses of keepalived's network; events alone count", Over: "the addresses of keepalived's network are read again"}
	suspended = journal.Kind{Code: "address-suspended", Level: zap.WarnLevel,
		Text: "suspending the floating IP until its address returns"}
	resumed = journal.Kind{Code: "address-resumed", Level: zap.InfoLevel,
		Text: "the address has returned; the floating IP is no longer suspended"}
	// absent is told once of an instance, and not at each MASTER: that an address is bound
	// later changes nothing for the operator.
	absent = journal.Kind{Code: "addresses-absent", Level: zap.InfoLevel,
		Text: "none of the addresses is on this host; events alone count for this instance"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{unreadable, suspended, resumed, absent}
