package reconcile

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

var (
	corrected = journal.Kind{Code: "instance-corrected", Level: zap.WarnLevel,
		Text: "corrected the state by keepalived's state dump or the addresses on this host"}

	died = journal.Kind{Code: "keepalived-died", Level: zap.WarnLevel,
		Text: "keepalived has died; ending the holdings that began under it"}
	exited = journal.Kind{Code: "keepalived-ended", Level: zap.InfoLevel,
		Text: "keepalived has ended"}
	masterOfDead = journal.Kind{Code: "keepalived-died-master", Level: zap.WarnLevel,
		Text: "MASTER was reported by a keepalived that has died meanwhile; not acting on it"}
	fifoClosed = journal.Kind{Code: "fifo-closed", Level: zap.WarnLevel,
		Text: "keepalived has closed the FIFO and not opened it again; ending the holdings that began under it"}

	fifoDeaf = journal.Kind{Code: "fifo-deaf", Level: zap.ErrorLevel,
		Text: "keepalived does not have the FIFO open and no event of it can arrive; the addresses and keepalived's state dump decide until it has", Over: deafOver}
	fifoDeafUnasked = journal.Kind{Code: "fifo-deaf-unasked", Level: zap.ErrorLevel,
		Text: "keepalived does not have the FIFO open and no event of it can arrive; berth may not ask keepalived for its states, because only root may, and the states stay as they are until keepalived has it open", Over: deafOver}
	// fifoDeafEnded tells of the end of one of the two before.
	fifoDeafEnded = journal.Kind{Code: "fifo-deaf-ended", Level: zap.InfoLevel,
		Text: "the keepalived that did not have the FIFO open is not seen any more"}
	fifoUnverifiable = journal.Kind{Code: "fifo-unverifiable", Level: zap.WarnLevel,
		Text: "cannot tell whether keepalived has the FIFO open: a FIFO that was replaced under it is noticed only if no process has it open to write; run berth as root, or with CAP_SYS_PTRACE", Over: "it is known again whether keepalived has the FIFO open"}
)

const deafOver = "keepalived has the FIFO open again; its events count again"

// Events are the kinds that this package declares.
var Events = []journal.Kind{corrected, died, exited, masterOfDead, fifoClosed, fifoDeaf, fifoDeafUnasked, fifoDeafEnded, fifoUnverifiable}
