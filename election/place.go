package election

import (
	"net/url"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Keys below the prefix. Names of instances are path-escaped.
const (
	electionsDir = "elections/" // <instance>/<lease in hex>: a place in the queue
	releasedDir  = "released/"  // <instance>: the token that an owner last gave up
	withdrawnDir = "withdrawn/" // <instance>: the token that was last given up by one who never owned
	wantedDir    = "wanted/"    // <instance>: who is asked to take over
)

// Place is the value of a key in the queue of an instance.
type Place struct {
	Member string `json:"member"`
	// Identity is that of the member's run directory; empty in the value of a berth
	// that has none yet. It tells two members apart that have one name by mistake.
	Identity  string    `json:"identity,omitempty"`
	Addresses []string  `json:"addresses,omitempty"`
	Since     time.Time `json:"since"`         // for people
	TTL       int64     `json:"ttl,omitempty"` // of the lease, in seconds
}

// same reports whether two places can be those of one member: one that has no
// identity can be any of its name.
func (p Place) same(o Place) bool {
	return p.Member == o.Member && (p.Identity == "" || o.Identity == "" || p.Identity == o.Identity)
}

// wish is the value of a wanted key: one of the first two, and its identity.
type wish struct {
	Member   string `json:"member,omitempty"` // to become the owner
	Except   string `json:"except,omitempty"` // to give up
	Identity string `json:"identity,omitempty"`
}

// favours reports whether a member may be the owner by the wish of whoever asked.
func (w wish) favours(p Place) bool {
	switch {
	case w.Member != "":
		return p.same(Place{Member: w.Member, Identity: w.Identity})
	case w.Except != "":
		return !p.same(Place{Member: w.Except, Identity: w.Identity})
	}
	return true
}

// released is the value of a released key, and of a withdrawn one.
type released struct {
	Token  int64  `json:"token"`
	Member string `json:"member"`
}

// entry is a place in the queue as etcd has it.
type entry struct {
	Place
	key   string
	lease clientv3.LeaseID
	token int64 // create revision
}

// split returns directory, instance and the rest of a key below the prefix.
func split(prefix, key string) (dir, instance, rest string) {
	dir, tail, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	name, rest, _ := strings.Cut(tail, "/")
	instance, err := url.PathUnescape(name)
	if err != nil {
		return "", "", ""
	}
	return dir + "/", instance, rest
}
