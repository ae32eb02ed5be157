package election

import (
	"errors"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"
	"berth/vrrp"
)

// Causes with which ownership ends.
var (
	// ErrKeyLost says that the key is gone from etcd.
	ErrKeyLost = errors.New("the key in etcd is gone")
	// ErrHandOver says that another member was asked to take over.
	ErrHandOver = errors.New("handing over as asked")
	// ErrReachable ends acting without etcd.
	ErrReachable = errors.New("etcd answers again")
)

// UnableError says that this host cannot own an instance now.
type UnableError struct{ Reason string }

// Error returns the reason.
func (e *UnableError) Error() string { return e.Reason }

// Grant is the permission to act as owner.
type Grant struct {
	// Token grows with each change of owner, within one history of etcd. It is 0 for an
	// owner that acts without etcd.
	Token int64
	term  *Term
}

// End returns the earliest moment at which another member can become owner. It
// moves on as the lease is renewed. For an owner that acts without etcd it is as far
// ahead as that of a lease, and moves on for as long as this process runs.
func (g Grant) End() time.Time { return g.term.End() }

// Check returns nil while the permission stands. Call it immediately before each
// write to the outside.
func (g Grant) Check() error { return g.term.Check() }

// Status is what a candidate knows of its instance.
type Status struct {
	Instance string
	State    vrrp.State // Master while it owns it, Backup while it waits, Fault while it cannot
	Owner    string     // the member that owns it, empty if unknown
	Token    int64      // while Master
	Retained bool       // Master goes on although etcd does not acknowledge its lease
	Reason   string
}

// Campaign is how a member takes part in the election of one instance.
type Campaign struct {
	Instance string
	// Pool says that the instance is an address of the pool: at most one member has the
	// key of the address, and all others wait until that is gone.
	Pool      bool
	Addresses []string // for people who read the keys in etcd
	// Able holds while this host can own the instance. Nil always holds.
	Able condition.Condition
	// Alone lets the member act without etcd when that has acknowledged no lease, or taken
	// no key, for longer than the lease, unless another member is known to be the owner.
	Alone bool
	// Joined, which may be nil, is called while this member owns the instance when
	// another member has come into the queue, and when etcd acknowledges the lease again
	// without which this member went on: a network that was cut may be whole again, and
	// others that were owners without etcd cease to be. It must not block.
	Joined func()
	// Changed, which may be nil, is told of each change of status. It must not
	// block.
	Changed func(Status)
	// Journal is that of the instance; nil stands for the member's, with the instance
	// as a field.
	Journal *journal.Journal
}

// ref names what the campaign is for.
func (c *Campaign) ref() ref { return ref{pool: c.Pool, name: c.Instance} }
