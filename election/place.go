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
	Member    string    `json:"member"`
	Addresses []string  `json:"addresses,omitempty"`
	Since     time.Time `json:"since"` // for people
}

// wish is the value of a wanted key: one of the two.
type wish struct {
	Member string `json:"member,omitempty"` // to become the owner
	Except string `json:"except,omitempty"` // to give up
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
