package netif

import (
	"berth/internal/journal"

	"go.uber.org/zap"
)

// Conditions of an interface.
var (
	unobservable = journal.Kind{Code: "interface-unobservable", Level: zap.WarnLevel,
		Text: "cannot read the addresses of the interface from the kernel; trying again",
		Over: "reading the addresses of the interface again"}
	unattached = journal.Kind{Code: "interface-not-attached", Level: zap.WarnLevel,
		Text: "cannot listen on the interface; claims of other hosts are not received and announcements are not sent; trying again",
		Over: "listening on the interface again"}
	unreceived = journal.Kind{Code: "interface-claims-not-received", Level: zap.WarnLevel,
		Text: "cannot receive the claims of other hosts on the interface; trying again",
		Over: "receiving the claims of other hosts again"}
	unwatched = journal.Kind{Code: "interface-watch-ended", Level: zap.WarnLevel,
		Text: "the watch of the interface has ended; beginning it anew",
		Over: "watching the interface again"}
	renamed = journal.Kind{Code: "interface-renamed", Level: zap.WarnLevel, Distinct: true,
		Text: "the interface was renamed; its addresses stay on it; write its new name into the configuration, because the next start of berth finds it by name",
		Over: "the interface has its configured name again"}
	unannounced = journal.Kind{Code: "address-not-announced", Level: zap.WarnLevel,
		Text: "cannot announce the address; neighbours send its packets to the host that announced it last; trying again",
		Over: "announcing addresses again"}
	unbound = journal.Kind{Code: "address-not-bound", Level: zap.WarnLevel,
		Text: "cannot bind the addresses; trying again",
		Over: "no address fails to be bound any more"}
	unremoved = journal.Kind{Code: "address-not-removed", Level: zap.ErrorLevel,
		Text: "cannot remove the addresses; trying again",
		Over: "no address fails to be removed any more"}
	foreignUnremoved = journal.Kind{Code: "address-of-another-host-not-removed", Level: zap.WarnLevel,
		Text: "cannot remove an address that another host owns; trying again",
		Over: "no address of another host fails to be removed any more"}
	unrecorded = journal.Kind{Code: "address-record-unwritable", Level: zap.WarnLevel,
		Text: "cannot record what is bound; addresses of a run that was killed end by their lifetime alone",
		Over: "what is bound is recorded again"}
)

// Conditions of an address.
var (
	contested = journal.Kind{Code: "address-contested", Level: zap.WarnLevel, Distinct: true,
		Text: "the address is contested: from now on it is defended every ten seconds",
		Over: "the address is no longer contested"}
	onAnotherInterface = journal.Kind{Code: "address-astray", Level: zap.WarnLevel,
		Text: "the address is bound to another interface of this host although another host owns it: both hosts answer for it; remove it: ip address del",
		Over: "this host no longer answers for the address by another interface"}
)

// Events that merely happen.
var (
	addressDeleted = journal.Kind{Code: "address-deleted", Level: zap.WarnLevel,
		Text: "another program deleted or changed the address on the interface; binding it again"}
	addressAdded = journal.Kind{Code: "address-added", Level: zap.WarnLevel,
		Text: "another program bound the address to the interface although another host owns it; removing it"}
	addressClaimed = journal.Kind{Code: "address-claimed", Level: zap.WarnLevel,
		Text: "another host claims the address; announcing it again"}
	leftover = journal.Kind{Code: "address-leftover-removed", Level: zap.InfoLevel,
		Text: "removed an address that an earlier run left here"}
	leaseEnds = journal.Kind{Code: "address-lease-ended", Level: zap.WarnLevel,
		Text: "the lease ends; removing its addresses"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{unobservable, unattached, unreceived, unwatched, renamed, unannounced, unbound, unremoved, foreignUnremoved,
	unrecorded, contested, onAnotherInterface, addressDeleted, addressAdded, addressClaimed, leftover, leaseEnds}
