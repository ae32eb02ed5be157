package fifo

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	reading = journal.Kind{Code: "fifo-reading", Level: zap.InfoLevel,
		Text: "reading keepalived's events"}
	replaced = journal.Kind{Code: "fifo-replaced", Level: zap.InfoLevel,
		Text: "the FIFO was replaced; reading the new one"}
	unopened = journal.Kind{Code: "fifo-unopened", Level: zap.WarnLevel,
		Text: "cannot open the new FIFO yet", Distinct: true} // its end is fifo-replaced or fifo-reading
	writable = journal.Kind{Code: "fifo-writable-by-others", Level: zap.WarnLevel,
		Text: "other users may write events into the FIFO; run: chmod go-w, with its path", Over: "only its owner may write events into the FIFO"}
	overflow = journal.Kind{Code: "fifo-overflow", Level: zap.WarnLevel,
		Text: "the FIFO was full and keepalived has dropped events; reading the states from keepalived's state dump and the addresses"}
	malformed = journal.Kind{Code: "fifo-line-malformed", Level: zap.WarnLevel,
		Text: "ignoring a FIFO line that keepalived cannot have written"}
	oversized = journal.Kind{Code: "fifo-line-too-long", Level: zap.WarnLevel,
		Text: "skipping a FIFO line that is too long to be keepalived's"}
	unknownWord = journal.Kind{Code: "fifo-word-unknown", Level: zap.WarnLevel,
		Text: "ignoring an unknown state word from keepalived"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{reading, replaced, unopened, writable, overflow, malformed, oversized, unknownWord}
