package app

import (
	"slices"

	"berth/api"
	"berth/compat"
	"berth/config"
	"berth/election"
	"berth/fifo"
	"berth/guard"
	"berth/health"
	"berth/heartbeat"
	"berth/instance"
	"berth/internal/added"
	"berth/internal/associate"
	"berth/internal/cloudsim"
	"berth/internal/fence"
	"berth/internal/holding"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/names"
	"berth/internal/owner"
	"berth/internal/patroni"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/reconcile"
	"berth/internal/reload"
	"berth/internal/roster"
	"berth/internal/seat"
	"berth/internal/serve"
	"berth/internal/status"
	"berth/internal/systemd"
	"berth/internal/witness"
	"berth/internal/yield"
	"berth/netif"
	"berth/notify"
	"berth/pool"
	"berth/providers/catalog"
	"berth/refresher"

	"go.uber.org/zap"
)

var (
	ending = journal.Kind{Code: "berth-ending", Level: zap.InfoLevel,
		Text: "ending; floating IPs stay where they are"}
	unprotected = journal.Kind{Code: "berth-unprotected", Level: zap.WarnLevel,
		Text: "cannot protect berth from the kernel's out-of-memory killer"}
	fifoUnlockable = journal.Kind{Code: "fifo-lock-unusable", Level: zap.WarnLevel,
		Text: "cannot make sure that no other process reads the FIFO"}
	fifoNotUnlocked = journal.Kind{Code: "fifo-lock-not-released", Level: zap.WarnLevel,
		Text: "cannot unlock the FIFO"}
	eventSuperseded = journal.Kind{Code: "notify-superseded", Level: zap.InfoLevel,
		Text: "not acting: a newer event of the instance is on record"}
	seatNotLeft = journal.Kind{Code: "lease-record-not-left", Level: zap.WarnLevel,
		Text: "cannot remove the record of the lease, or unlock it"}
	electionJoined = journal.Kind{Code: "election-joined", Level: zap.InfoLevel, Text: "taking part in the election"}
	electionLeft   = journal.Kind{Code: "election-left", Level: zap.InfoLevel, Text: "ended; addresses and lease are given up"}
	electionPassed = journal.Kind{Code: "election-passed-on", Level: zap.InfoLevel,
		Text: "ending; lease and addresses stay for the next process"}
	followJoined    = journal.Kind{Code: "patroni-followed", Level: zap.InfoLevel, Text: "following Patroni, which decides who owns the addresses"}
	followLeft      = journal.Kind{Code: "patroni-left", Level: zap.InfoLevel, Text: "ended; addresses are given up"}
	followPassed    = journal.Kind{Code: "patroni-passed-on", Level: zap.InfoLevel, Text: "ending; addresses stay for the next process"}
	watchJoined     = journal.Kind{Code: "watch-joined", Level: zap.InfoLevel, Text: "sending heartbeats to the peers, which decide who owns the addresses"}
	watchLeft       = journal.Kind{Code: "watch-left", Level: zap.InfoLevel, Text: "ended; this host has told its peers that it resigns"}
	watchPassed     = journal.Kind{Code: "watch-passed-on", Level: zap.InfoLevel, Text: "ending; floating IPs stay for the next process"}
	priorityChanged = journal.Kind{Code: "watch-priority", Level: zap.InfoLevel, Text: "a signal has changed the priority of this host, until berth is started or reloaded"}
	addressFixed    = journal.Kind{Code: "address-bound-only", Level: zap.InfoLevel,
		Text: "no provider points the address; it is bound only"}
	interfacesNotClosed = journal.Kind{Code: "interfaces-not-closed", Level: zap.WarnLevel, Text: "cannot close the interfaces"}
	upgradeRefused      = journal.Kind{Code: "upgrade-refused", Level: zap.ErrorLevel,
		Text: "not upgrading: the new binary refuses the configuration"}
	upgradeImpossible = journal.Kind{Code: "upgrade-impossible", Level: zap.ErrorLevel,
		Text: "not upgrading: a successor could not take over"}
)

// own are the kinds that this package declares.
var own = []journal.Kind{ending, unprotected, fifoUnlockable, fifoNotUnlocked, eventSuperseded, seatNotLeft,
	electionJoined, electionLeft, electionPassed, followJoined, followLeft, followPassed, addressFixed, watchJoined, watchLeft, watchPassed, priorityChanged, interfacesNotClosed, upgradeRefused, upgradeImpossible}

// Events returns the kinds of events of all packages, in no order. A package that
// declares some is listed here.
func Events() []journal.Kind {
	return slices.Concat(
		own,
		added.Events,
		api.Events,
		associate.Events,
		cloudsim.Events,
		compat.Events,
		config.Events,
		election.Events,
		fence.Events,
		fifo.Events,
		guard.Events,
		health.Events,
		heartbeat.Events,
		holding.Events,
		instance.Events,
		keepalived.Events,
		names.Events,
		netif.Events,
		notify.Events,
		owner.Events,
		patroni.Events,
		pool.Events,
		presence.Events,
		catalog.Events,
		reading.Events,
		reconcile.Events,
		refresher.Events,
		reload.Events,
		roster.Events,
		seat.Events,
		serve.Events,
		status.Events,
		systemd.Events,
		witness.Events,
		yield.Events,
	)
}
