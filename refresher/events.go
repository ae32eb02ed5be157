package refresher

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

var (
	pointsHere = journal.Kind{Code: "floating-ip-points-here", Level: zap.InfoLevel,
		Text: "floating IP points here"}
	pointsHereAlready = journal.Kind{Code: "floating-ip-points-here-already", Level: zap.InfoLevel,
		Text: "floating IP points here already"}
	stolen = journal.Kind{Code: "floating-ip-stolen", Level: zap.WarnLevel,
		Text: "floating IP was stolen"}
	// The error names the taker.
	contested = journal.Kind{Code: "floating-ip-contested", Level: zap.ErrorLevel, Distinct: true,
		Text: "floating IP is contested: another host also believes to be MASTER; check VRRP between the hosts",
		Over: "floating IP is no longer contested"}
)

const pointsHereAgain = "floating IP points here again after failures"

// The conditions of one address: at most one of them holds at a time.
var (
	notYet = journal.Kind{Code: "floating-ip-not-pointed", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot point floating IP here yet; trying again", Over: pointsHereAgain}
	refused = journal.Kind{Code: "floating-ip-refused", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot point floating IP here; trying again each refresh interval", Over: pointsHereAgain}
	// The errors of a claim and of an observation differ in text and mean the same, so
	// the condition is not Distinct.
	missing = journal.Kind{Code: "floating-ip-missing", Level: zap.InfoLevel,
		Text: "address seems not to be a floating IP of the account; asking again", Over: pointsHereAgain}
	leftAlone = journal.Kind{Code: "floating-ip-left-alone", Level: zap.WarnLevel,
		Text: "address is left alone: not a floating IP of the account", Over: pointsHereAgain}
	notTried = journal.Kind{Code: "floating-ip-not-tried", Level: zap.WarnLevel,
		Text: "floating IP is not tried while the provider refuses another address; trying as soon as the provider accepts one", Over: pointsHereAgain}
)

var (
	unprepared = journal.Kind{Code: "provider-look-up-failed", Level: zap.WarnLevel,
		Text: "cannot look up yet what the first claim needs; trying again",
		Over: "looked up what the first claim needs"}
	leftToTheClaim = journal.Kind{Code: "provider-look-up-given-up", Level: zap.WarnLevel,
		Text: "cannot look up what the first claim needs; the claim will look it up"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{pointsHere, pointsHereAlready, stolen, contested,
	notYet, refused, missing, leftAlone, notTried, unprepared, leftToTheClaim}
