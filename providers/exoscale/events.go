package exoscale

import (
	"go.uber.org/zap"

	"berth/internal/journal"
)

var (
	detaching = journal.Kind{Code: "exoscale-detaching", Level: zap.InfoLevel,
		Text: "detaching the elastic IP from another instance"}
	managed = journal.Kind{Code: "exoscale-managed", Level: zap.WarnLevel,
		Text: "elastic IP has a health check of the provider's, which decides where traffic goes: attaching it to an instance has no effect",
		Over: "elastic IP has no health check of the provider's any more"}
	inPool = journal.Kind{Code: "exoscale-instance-pool", Level: zap.WarnLevel,
		Text: "this host belongs to an instance pool: berth and the pool will attach and detach the pool's elastic IPs in turn",
		Over: "this host does not belong to an instance pool any more"}
	// Doubt does not end: a filter that was right once can still be wrong.
	filterDoubted = journal.Kind{Code: "exoscale-filter-doubted", Level: zap.WarnLevel,
		Text: "the API's list of instances by address cannot be relied on; the records of all instances are read instead"}
	zoneAssumed = journal.Kind{Code: "exoscale-zone-assumed", Level: zap.WarnLevel,
		Text: "the metadata service does not say the zone; fallback-zone is used"}
	peerUnknown = journal.Kind{Code: "exoscale-peer-unknown", Level: zap.WarnLevel,
		Text: "a peer tells an id that no instance of this zone has: exoip tells that of its NIC; berth tells that of the instance, so replace exoip on that host"}
	auditFailed = journal.Kind{Code: "exoscale-audit-failed", Level: zap.WarnLevel,
		Text: "cannot read the records of all instances; others that have an elastic IP may stay unseen",
		Over: "the records of all instances were read again"}
	privateUnread = journal.Kind{Code: "exoscale-private-networks-unread", Level: zap.WarnLevel,
		Text: "the API refuses to tell the addresses in private networks; members of the security group are known by their other addresses",
		Over: "the API tells the addresses in private networks"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{detaching, managed, inPool, filterDoubted, zoneAssumed, peerUnknown, auditFailed, privateUnread}
