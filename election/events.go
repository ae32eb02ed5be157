package election

import (
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// Why etcd does not acknowledge a lease: conditions in one place of a member.
var (
	leaseUnacknowledged = journal.Kind{Code: "lease-unacknowledged", Level: zap.WarnLevel,
		Text: "etcd does not acknowledge the lease; trying the other endpoints", Over: "etcd acknowledges the lease again"}
	leaseIgnored = journal.Kind{Code: "lease-ignored", Level: zap.ErrorLevel,
		Text: "etcd does not answer; going on without the lease, as on-etcd-loss says", Over: "etcd acknowledges the lease again"}
	leaseUnobtained = journal.Kind{Code: "lease-unobtained", Level: zap.WarnLevel,
		Text: "cannot get a lease from etcd yet; trying again", Over: "etcd answers again"}
	// An operator who has read that etcd cannot be reached must read that it refuses, and
	// for which other reason it does next.
	leaseRefused = journal.Kind{Code: "lease-refused", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot get a lease from etcd yet; trying again", Over: "etcd answers again"}
)

// Outage are the codes of the conditions in which etcd does not serve this member.
// Conditions that follow from such an outage depend on them.
var Outage = []string{leaseUnacknowledged.Code, leaseIgnored.Code, leaseUnobtained.Code, leaseRefused.Code}

// The lease.
var (
	leaseEnded = journal.Kind{Code: "lease-ended", Level: zap.WarnLevel,
		Text: "the lease no longer protects what this host owns"}
	leaseDiffers = journal.Kind{Code: "lease-ttl-differs", Level: zap.WarnLevel,
		Text: "the lease of the process before this one has another time to live; stop and start berth to get the configured one"}
	leaseUnrevoked = journal.Kind{Code: "lease-unrevoked", Level: zap.WarnLevel,
		Text: "cannot revoke the lease; etcd ends it when its time to live is over"}
)

// Etcd and its history.
var (
	etcdUnwatched = journal.Kind{Code: "etcd-unwatched", Level: zap.WarnLevel, DependsOn: Outage, Lasting: unwatchedLasting,
		Text: "cannot follow the election; trying the other endpoints", Over: "following the election again"}
	etcdKeyForeign = journal.Kind{Code: "etcd-key-foreign", Level: zap.WarnLevel,
		Text: "a key below the prefix has a value that berth did not write"}
	etcdHistoryBroken = journal.Kind{Code: "etcd-history-broken", Level: zap.ErrorLevel,
		Text: "etcd was restored from a backup, wiped, or replaced by another cluster; beginning anew with a new lease, after owners of the former history must have ended"}
	etcdEndpointsStray = journal.Kind{Code: "etcd-endpoints-stray", Level: zap.ErrorLevel,
		Text: "some endpoints are those of another etcd cluster; their answers are ignored. Correct etcd.endpoints, or the proxy before them",
		Over: "all endpoints are those of one etcd cluster again"}
)

// The election of an instance.
var (
	instanceAcquired = journal.Kind{Code: "instance-acquired", Level: zap.InfoLevel, Text: "became the owner"}
	instanceLost     = journal.Kind{Code: "instance-lost", Level: zap.InfoLevel, Text: "no longer the owner"}
	instanceUnfenced = journal.Kind{Code: "instance-unfenced", Level: zap.ErrorLevel,
		Text: "etcd does not serve this host; acting without it, as on-etcd-loss says"}
	instanceUnholdable = journal.Kind{Code: "instance-unholdable", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot own the instance; letting other members be elected first", Over: "the instance can be owned again"}
	instanceWaits = journal.Kind{Code: "instance-waits-for-owner", Level: zap.WarnLevel,
		Text: "waiting until the former owner must have ended"}
	instanceWaitsHistory = journal.Kind{Code: "instance-waits-for-history", Level: zap.WarnLevel,
		Text: "waiting until owners of etcd's former history must have ended"}
	keyRefused = journal.Kind{Code: "etcd-key-refused", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot put this member's key into the queue of the election; trying again", Over: "etcd takes keys of the instance again"}
	keyUndeletable = journal.Kind{Code: "etcd-key-undeletable", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot delete the key in the election; trying again", Over: "etcd takes keys of the instance again"}
	nodeRefused = journal.Kind{Code: "etcd-pool-member-refused", Level: zap.ErrorLevel, Distinct: true,
		Text: "cannot put this member's key into the pool; trying again", Over: "etcd takes the key of this member in the pool again"}
	memberRefused = journal.Kind{Code: "etcd-member-refused", Level: zap.WarnLevel, Distinct: true,
		Text: "cannot put what this member tells of itself into etcd; trying again", Over: "etcd takes what this member tells of itself again"}
	keyLeft = journal.Kind{Code: "etcd-key-left", Level: zap.WarnLevel,
		Text: "cannot delete a key of the lease for which this process has no campaign; trying again"}
	candidateForeign = journal.Kind{Code: "candidate-foreign", Level: zap.WarnLevel,
		Text: "a program other than berth takes part in the election; berth cannot make sure that it leaves its addresses in time",
		Over: "all members that take part in the election are those of berth"}
	memberDoubled = journal.Kind{Code: "member-doubled", Level: zap.ErrorLevel,
		Text: "another host takes part in the election under the name of this one; give each an etcd.member of its own",
		Over: "no other host takes part under the name of this one any more"}
)

// Events are the kinds that this package declares.
var Events = []journal.Kind{leaseUnacknowledged, leaseIgnored, leaseUnobtained, leaseRefused, leaseEnded, leaseDiffers, leaseUnrevoked,
	etcdUnwatched, etcdKeyForeign, etcdHistoryBroken, etcdEndpointsStray, instanceAcquired, instanceLost, instanceUnfenced,
	instanceUnholdable, instanceWaits, instanceWaitsHistory, keyRefused, keyUndeletable, nodeRefused, memberRefused, keyLeft, candidateForeign, memberDoubled}

// unwatchedLasting is how long the election cannot be followed before that is said. An
// outage of etcd often ends the watch before a renewal of the lease is missed.
const unwatchedLasting = 3 * time.Second
