package owner

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	addressesBound = journal.Kind{Code: "addresses-bound", Level: zap.InfoLevel, Text: "addresses are bound"}
	addressesStuck = journal.Kind{Code: "addresses-stuck", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot remove addresses; no other host gets them until the kernel has taken them away", Over: "the addresses are gone"}
	leftoversStuck = journal.Kind{Code: "addresses-of-earlier-run-stuck", Level: zap.ErrorLevel,
		Text: "cannot remove addresses of an earlier run"}
	leaseAdopted = journal.Kind{Code: "lease-adopted", Level: zap.InfoLevel, Text: "adopted the lease of the process before this one"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{addressesBound, addressesStuck, leftoversStuck, leaseAdopted}
