package yield

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	gaveWay = journal.Kind{Code: "floating-ip-yielded", Level: zap.InfoLevel,
		Text: "detached this host, which is not the owner any more; another server has the floating IP"}
	notYielded = journal.Kind{Code: "floating-ip-not-yielded", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot find out whether this host still has a floating IP that it does not own, or cannot detach it", Over: "this host does not have the floating IP any more, or is its owner again"}
	released = journal.Kind{Code: "floating-ip-released", Level: zap.InfoLevel,
		Text: "detached this host at its end, because no peer lives that could take the floating IP"}
	notReleased = journal.Kind{Code: "floating-ip-not-released", Level: zap.ErrorLevel,
		Text: "cannot detach this host at its end; the floating IP stays here"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{gaveWay, notYielded, released, notReleased}
