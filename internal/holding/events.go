package holding

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

// These conditions have no message of recovery: the claim that follows shows that they
// have ended.
var (
	notLocked = journal.Kind{Code: "instance-not-locked", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot lock the instance yet; trying again"}
	addressesUnknown = journal.Kind{Code: "instance-addresses-unknown", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot tell the addresses of the instance yet; trying again"}
	notPermitted = journal.Kind{Code: "instance-not-permitted", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot get the permission to act for the instance; trying again"}
	addressesRetained = journal.Kind{Code: "instance-addresses-retained", Level: zap.WarnLevel, Distinct: true,
		Text: "keeping the addresses as they were"}
	noAddresses = journal.Kind{Code: "instance-without-addresses", Level: zap.WarnLevel,
		Text: "the instance has no addresses; nothing to move"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{notLocked, addressesUnknown, notPermitted, addressesRetained, noAddresses}
