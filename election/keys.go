package election

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// candidacy is the value of a key in the queue of an instance.
type candidacy struct {
	Member string `json:"member"`
	// Identity is that of the member's run directory; empty in the value of a berth
	// that has none yet. It tells two members apart that have one name by mistake.
	Identity  string    `json:"identity,omitempty"`
	Addresses []string  `json:"addresses,omitempty"`
	Since     time.Time `json:"since"`         // for people
	TTL       int64     `json:"ttl,omitempty"` // of the lease, in seconds

	foreign bool // it is that of another program, see readCandidacy
}

// same reports whether two candidacies can be those of one member of berth: without an
// identity a candidacy can be that of any member of its name.
func (c candidacy) same(o candidacy) bool {
	return !c.foreign && !o.foreign && c.Member == o.Member && (c.Identity == "" || o.Identity == "" || c.Identity == o.Identity)
}

// readCandidacy reads the value of a key in the queue of an instance. Other programs that
// use etcd's own election recipe, such as govip, may stand there too; their value is a text
// of their choice, and is taken for the name of a member. Such a program tells the end of
// its ownership by the end of its key alone, and answers no request to hand over.
func readCandidacy(value []byte) candidacy {
	var c candidacy
	if json.Unmarshal(value, &c) != nil {
		// A berth of another version may write what is beside the name in another way. Taken
		// for another program, it would have no wait for its lease.
		var named struct{ Member string }
		_ = json.Unmarshal(value, &named)
		c = candidacy{Member: named.Member}
	}
	if c.Member != "" {
		return c
	}
	name := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(value[:min(len(value), maxForeign)]), ""))
	return candidacy{Member: cmp.Or(name, unnamed), foreign: true}
}

const (
	maxForeign = 256 // bytes of a value that count as a name
	unnamed    = "(unnamed)"
)

// wanted is the value of a wanted key: one of the first two, and its identity.
type wanted struct {
	Member   string `json:"member,omitempty"` // to become the owner
	Except   string `json:"except,omitempty"` // to give up
	Identity string `json:"identity,omitempty"`
}

// admits reports whether a member may be the owner while the request stands.
func (w wanted) admits(c candidacy) bool {
	switch {
	case w.Member != "":
		return c.same(candidacy{Member: w.Member, Identity: w.Identity})
	case w.Except != "":
		return !c.same(candidacy{Member: w.Except, Identity: w.Identity})
	}
	return true
}

// released is the value of a released key, and of a withdrawn one.
type released struct {
	Token  int64  `json:"token"`
	Member string `json:"member"`
}

// entry is a key in the queue of an instance, as etcd has it.
type entry struct {
	candidacy
	key   string
	lease clientv3.LeaseID
	token int64 // create revision
}
