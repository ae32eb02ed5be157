package patroni

import (
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	roleTaken = journal.Kind{Code: "patroni-role-taken", Level: zap.InfoLevel, Text: "Patroni says that this host has the role"}
	roleEnded = journal.Kind{Code: "patroni-role-ended", Level: zap.InfoLevel, Text: "this host does not have the role of Patroni any more"}
	// A request that is lost now and then, or a REST interface that begins anew, is not said.
	unanswered = journal.Kind{Code: "patroni-unanswered", Level: zap.WarnLevel, Lasting: time.Second,
		Text: "Patroni does not answer; trying again", Over: "Patroni answers again"}
	unusable = journal.Kind{Code: "patroni-answer-unusable", Level: zap.ErrorLevel, Distinct: true,
		Text: "the answer is not one of Patroni's REST interface; it counts as no", Over: "Patroni answers again"}
)

// The owner of an instance.
var (
	ownerBegins = journal.Kind{Code: "patroni-owner", Level: zap.InfoLevel, Text: "became the owner, as Patroni says"}
	ownerEnds   = journal.Kind{Code: "patroni-owner-ended", Level: zap.InfoLevel, Text: "no longer the owner"}
	unholdable  = journal.Kind{Code: "patroni-owner-unable", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot own the instance, although Patroni says that this host is the leader; trying again", Over: "the instance is owned again"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{roleTaken, roleEnded, unanswered, unusable, ownerBegins, ownerEnds, unholdable}
