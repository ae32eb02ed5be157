// Package status has what is known now about the instances of this host. The parts
// of a process put their facts on a board; the board writes a file per instance below
// the run directory, replaced whole, that every user may read. `berth status` prints
// the files; it needs no running berth and no privilege.
//
// Each fact has one method and one writer, which the comment of the method names: the
// part that knows the fact first. A part that learns of a fact subscribes to the board,
// or reads a snapshot.
package status

import (
	"time"

	"berth/vrrp"
)

// Instance is what is known about one instance.
type Instance struct {
	Instance  string     `json:"instance"`
	Group     string     `json:"group,omitempty"` // the sync group whose notify script reported for it
	State     vrrp.State `json:"state"`
	Since     time.Time  `json:"since"`
	Priority  int        `json:"priority,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Addresses []Address  `json:"addresses"`
	Error     string     `json:"error,omitempty"` // what keeps the holding from its addresses
	// Corrections counts how often the machine showed what no event had told;
	// Correction is the newest.
	Corrections int    `json:"corrections,omitempty"`
	Correction  string `json:"correction,omitempty"`
	// Deaf is why no event of keepalived can arrive, with the cure; empty where
	// events can, or where that is not known.
	Deaf string `json:"deaf,omitempty"`
	// Configuration says how keepalived.conf differs from what is acted on, and
	// what to do about it.
	Configuration string `json:"configuration,omitempty"`
	// Owner is the member that etcd names, Token its fencing token where that is
	// this one, Lease the file that has the lease.
	Owner string `json:"owner,omitempty"`
	Token int64  `json:"token,omitempty"`
	Lease string `json:"lease,omitempty"`
	// Contested are the addresses in dispute: another host also claims them, or another
	// program of this host adds or deletes them. The owner may be any host.
	Contested []string `json:"contested,omitempty"`
	// Astray are the addresses that another interface of this host has although another
	// host owns them, each with " on " and the name of that interface.
	Astray []string `json:"astray,omitempty"`
	// Health is what the health checks of the instance show. In the modes of keepalived,
	// which decides there, it is for people alone.
	Health []Health `json:"health,omitempty"`
	// Peers are the other hosts that send heartbeats about the address that the instance is.
	Peers []Peer `json:"peers,omitempty"`
	// LeaseEnd is filled in by Read; so is Unacknowledged, since when etcd has not
	// acknowledged a lease that is kept without it.
	LeaseEnd       time.Time `json:"lease_end,omitzero"`
	Unacknowledged time.Time `json:"unacknowledged,omitzero"`
	// Prefix and Member are those of the election in which this process takes part, with
	// the URL of Patroni as Prefix where that decides; two processes of one host can take
	// part in two. Doubled says that another host
	// takes part under the same name.
	Prefix  string    `json:"prefix,omitempty"`
	Member  string    `json:"member,omitempty"`
	Doubled bool      `json:"doubled_member,omitempty"`
	PID     int       `json:"pid"`
	Start   uint64    `json:"start"` // with pid unique within a boot
	Mode    string    `json:"mode"`  // notify, fifo, elect or watch
	Updated time.Time `json:"updated"`

	forgotten bool // it is not on the board any more
}

// Here is the owner of an address that points to this host.
const Here = "here"

// Address is what is known about one address of an instance that is MASTER.
type Address struct {
	Address   string    `json:"address"`
	Owner     string    `json:"owner,omitempty"` // Here, or the owner as the provider names it
	Since     time.Time `json:"since,omitzero"`
	LastCall  time.Time `json:"last_call,omitzero"`
	LastError string    `json:"last_error,omitempty"`
	Claims    int       `json:"claims"`
	Thefts    int       `json:"thefts"`
	Contested bool      `json:"contested,omitempty"`
	Suspended bool      `json:"suspended,omitempty"` // gone from the interface without an event
}
