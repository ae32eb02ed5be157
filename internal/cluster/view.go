package cluster

import "time"

// View is the cluster as this host sees it at one moment. Nobody may change the lists of
// a View that Cluster.View has returned.
type View struct {
	Prefix    string        `json:"prefix"` // of the keys in etcd; empty without etcd
	This      string        `json:"this"`   // the member of this host
	Now       time.Time     `json:"now"`    // of this host
	Etcd      EtcdView      `json:"etcd"`
	Members   []MemberView  `json:"members"`   // by name
	Addresses []AddressView `json:"addresses"` // by address
	Moves     []Move        `json:"moves"`     // newest first, at most 100
	Note      string        `json:"note,omitempty"`
}

// EtcdView says whether etcd answers this host.
type EtcdView struct {
	// Used is false where this host has no member in etcd: then the view has this host
	// alone, Reachable is true, and nothing is wrong.
	Used      bool      `json:"used"`
	Reachable bool      `json:"reachable"`
	Reason    string    `json:"reason"` // why it cannot be reached
	Since     time.Time `json:"since,omitzero"`
}

// The states of a member.
const (
	Able    = "able"
	NotAble = "not able"
	Drained = "drained" // it is to have no address of the pool
	Gone    = "gone"    // its lease has ended, or it has left
)

// MemberView is a member of the cluster.
type MemberView struct {
	Name    string    `json:"name"`
	Here    bool      `json:"here"`           // it is this host's
	Version string    `json:"version"`        // of berth
	Mode    string    `json:"mode"`           // elect or fifo, "" if it does not tell
	Since   time.Time `json:"since,omitzero"` // when its process began, or when it has gone
	// Gone members are shown for ten minutes, with what was last known of them.
	Gone bool `json:"gone"`
	// LeaseLeft is how long its lease lasts unless it is renewed, in milliseconds; 0 if
	// that is not known.
	LeaseLeft int64        `json:"lease_left_ms"`
	Health    []HealthView `json:"health"`
	State     string       `json:"state"`  // Able, NotAble, Drained or Gone
	Reason    string       `json:"reason"` // why it is not able, or not for all
	Addresses int          `json:"addresses"`
}

// HealthView is a health check of a member.
type HealthView struct {
	Check   string    `json:"check"`
	Healthy bool      `json:"healthy"`
	Reason  string    `json:"reason"` // why it is not
	Since   time.Time `json:"since,omitzero"`
}

// The kinds of an address.
const (
	KindElection   = "election"   // of an instance of the configuration
	KindPool       = "pool"       // of the pool
	KindAdded      = "added"      // added to members at run time
	KindKeepalived = "keepalived" // of an instance of keepalived
)

// AddressView is an address of the cluster.
type AddressView struct {
	// Address has its prefix length, such as 192.0.2.10/32. It is empty where no member
	// tells which addresses the instance has.
	Address  string `json:"address"`
	Instance string `json:"instance"`
	Kind     string `json:"kind"`
	// ID is that of the address in the API, for KindPool and KindAdded alone.
	ID        string    `json:"id"`
	Owner     string    `json:"owner"` // the member that has it, "" for none
	Since     time.Time `json:"since,omitzero"`
	LeaseLeft int64     `json:"lease_left_ms"` // of the owner, as in MemberView
	// LastKnown says that etcd cannot be asked now: another member may be the owner.
	LastKnown bool `json:"last_known"`
	// Assigned is the member that is to have an address of the pool.
	Assigned   string   `json:"assigned"`
	Candidates []string `json:"candidates"` // members that can be the owner, the owner first
	Reason     string   `json:"reason"`     // why there is no owner, or what is wrong with it
	// CanFailover says that this host can be asked for a fail-over: the owner to hand over
	// to another candidate, a candidate to take over.
	CanFailover bool `json:"can_failover"`
}

// Move is a change of the state of an instance on a member. Its time is that of the host
// that saw the change.
type Move struct {
	At       time.Time `json:"at"`
	Instance string    `json:"instance"` // or the address, for one of the pool
	Member   string    `json:"member"`
	State    string    `json:"state"` // MASTER, BACKUP or FAULT
	From     string    `json:"from"`  // the former owner, "" if it is not known
	Reason   string    `json:"reason"`
	// Token is the fencing token of the owner, 0 if it is not known.
	Token int64 `json:"token,omitempty"`
}
