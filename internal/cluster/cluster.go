package cluster

import (
	"context"
	"slices"
	"sync"
	"time"

	"berth/election"
)

// Source has what etcd says of all members. It is an *election.Member, and must run.
type Source interface {
	// Cluster returns the keys at one revision, whether everything was read, and a channel
	// that is closed at the next change.
	Cluster() (keys election.ClusterKeys, known bool, changed <-chan struct{})
	// Reach returns why etcd cannot be asked by this member now, nil where it can.
	Reach() error
}

// Options are what a Cluster is made from.
type Options struct {
	Local      *Local
	Source     Source // nil where this host has no member in etcd
	Prefix     string // of the elections in etcd
	PoolPrefix string // of the pool, "" for none
	// Alone says why there is no member, for people; with Source it is empty.
	Alone string
	// Instances are those of the configuration of an election, by which an instance that is
	// called by an address is told from an address that was added.
	Instances []string
}

// Cluster is the cluster as this host sees it. Its methods may be called by several
// goroutines at once.
type Cluster struct {
	Options

	mu       sync.Mutex
	seen     <-chan struct{} // of the keys that were taken last
	keys     election.ClusterKeys
	known    bool
	era      int
	members  members
	owners   owners // as the keys say
	last     owners // also of what has no owner now
	saw      []Move // newest first
	heard    []Move // what members told, also those that have gone or begun anew since
	reach    error
	since    time.Time // when reach changed
	changes  int       // of all above but the leases
	built    View
	of       [2]int // changes, and the version of Local, from which built was built
	watchers map[*func()]struct{}
}

// New returns a Cluster. It starts nothing.
func New(o Options) *Cluster {
	c := &Cluster{Options: o, members: newMembers(), owners: owners{}, last: owners{}, since: time.Now(), of: [2]int{-1, -1}, watchers: map[*func()]struct{}{}}
	if o.Source != nil {
		c.reach = errUnread
	}
	return c
}

// Times of Run.
const (
	// settle joins the changes of a burst.
	settle = 50 * time.Millisecond
	// reachInterval is how often is asked whether etcd answers.
	reachInterval = time.Second
)

// Run observes what changes until ctx ends, and returns the cause: owners that change
// while nobody asks for a view, and members that go. It tells those that Watch has added.
func (c *Cluster) Run(ctx context.Context) error {
	tick := time.NewTicker(reachInterval)
	defer tick.Stop()
	before, changes := -1, -1
	for {
		c.mu.Lock()
		c.observe(time.Now())
		seen, now := c.seen, c.changes
		c.mu.Unlock()
		version, local := c.Local.state()
		if now != changes || version != before {
			c.tell()
		}
		changes, before = now, version
		for changed := false; !changed; {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-seen:
				changed = true
			case <-local:
				changed = true
			case <-tick.C:
				c.mu.Lock()
				changed = c.look(time.Now())
				c.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(settle):
		}
	}
}

// Watch has changed called after changes of the view, not more often than every 50 ms,
// while Run runs, until stop is called. A change of the time that a lease has left is none.
// changed must not block, and must not call stop.
func (c *Cluster) Watch(changed func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[&changed] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, &changed)
	}
}

func (c *Cluster) tell() {
	c.mu.Lock()
	all := make([]func(), 0, len(c.watchers))
	for w := range c.watchers {
		all = append(all, *w)
	}
	c.mu.Unlock()
	for _, changed := range all {
		changed()
	}
}

// observe takes what etcd says if that has changed. It is called with the lock held.
func (c *Cluster) observe(now time.Time) {
	if c.Source == nil {
		return
	}
	c.look(now)
	keys, known, changed := c.Source.Cluster()
	same := changed == c.seen && known == c.known
	c.seen, c.keys, c.known = changed, keys, known
	if same || !known {
		return
	}
	c.changes++
	if keys.Era != c.era { // what vanished with a history has gone from nobody
		c.era, c.owners, c.last = keys.Era, owners{}, owners{}
		c.members.read = false
	}
	first := !c.members.read
	if c.members.learn(&keys, now) {
		c.heard = merge(slices.Concat(toldMoves(c.members.told), c.heard), nil)
	}
	is := ownersOf(&keys)
	moves := moved(c.owners, is, c.last, func(m string) bool { return c.members.now[m] }, now.UTC().Round(0))
	if first { // nobody saw when they came
		for s, h := range is {
			h.since = time.Time{}
			is[s] = h
		}
		moves = nil
	}
	c.owners = is
	if former, known := c.members.told[c.Local.Member]; first && known && keys.Members[c.Local.Member].Own {
		c.Local.Inherit(former.is.Moves)
	}
	c.Local.Inherit(nil)
	for _, m := range moves {
		if m.Member == c.Local.Member {
			c.Local.Explain(m)
		}
	}
	c.saw = slices.Concat(moves, c.saw)
	c.saw = c.saw[:min(len(c.saw), maxMoves)]
}

// look asks whether etcd answers and which members are forgotten, and reports whether
// something has changed. It is called with the lock held.
func (c *Cluster) look(now time.Time) bool {
	if c.Source == nil {
		return false
	}
	before := c.changes
	if c.members.forget(now) {
		c.changes++
	}
	reach := c.Source.Reach()
	if (reach == nil) != (c.reach == nil) {
		c.since = now
		c.changes++
	}
	c.reach = reach
	return c.changes != before
}

// View returns the cluster as it is known now. Its cost is that of a copy while nothing
// has changed but the leases.
func (c *Cluster) View() View {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.observe(now)
	if version, _ := c.Local.state(); [2]int{c.changes, version} != c.of {
		entries, _, version := c.Local.facts()
		c.built, c.of = c.assemble(entries), [2]int{c.changes, version}
	}
	v := c.built
	v.Now = now.UTC().Round(0)
	v.Members, v.Addresses = slices.Clone(v.Members), slices.Clone(v.Addresses)
	leases(&v, &c.keys)
	return v
}
