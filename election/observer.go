package election

import (
	"slices"
	"sync"
	"time"

	"berth/internal/journal"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// queue is what is known of the election of one instance, or of one address of the pool,
// for which at most one member stands.
type queue struct {
	place     *span       // of the candidates
	records   *span       // of what members have written about keys that they gave up
	campaigns int         // of this process
	entries   []entry     // the owner first
	shared    []Candidate // a copy of them for ClusterKeys, nil after any change
	vanished  []entry     // former owners for which decideWaits has not been called yet
	released  int64
	// withdrawn are tokens that were given up unused, since decideWaits was last called.
	withdrawn   []int64
	gaveUp      bool         // there is a record of such a token
	until       time.Time    // no new owner before this moment, see decideWaits
	vacated     time.Time    // when the last entry, of another member, vanished
	former      string       // the member because of which
	unconfirmed []expiry     // to be confirmed by the next owner
	unrecorded  []unrecorded // before that the next owner reads the records
	wanted      wanted
	doubled     *journal.Condition // another host takes part under the name of this one
	mixed       *journal.Condition // a program other than berth takes part
	changed     chan struct{}
}

// split reports whether the deletion of a key and the record that the member gave it up
// are told by two watches.
func (q *queue) split() bool { return q.place != q.records }

// observer has a copy of the keys of the elections and of the pool, kept current by one
// watch for each span. It is safe for concurrent use.
type observer struct {
	etcd    *Etcd
	keys    keyspace
	spans   []*span
	ttl     time.Duration               // stands for that of a lease which was never sampled
	had     func(clientv3.LeaseID) bool // whether a lease is or was this process's
	moved   func()                      // told of each change, with the lock held; must not block
	journal *journal.Journal

	mu      sync.Mutex // guards what follows
	queues  map[ref]*queue
	pool    *poolCopy // nil without a pool
	members *roster
	added   *addedCopy
	cluster clusterCopy
	samples map[clientv3.LeaseID]sample
	viewed  map[clientv3.LeaseID]sample // of leases that no part but Cluster needs
	// confirming has the leases about which etcd is being asked; see confirm.
	confirming map[clientv3.LeaseID]chan struct{}
	longest    time.Duration                  // time to live of a lease in use
	firstSeen  map[clientv3.LeaseID]time.Time // leases of others under this member's name
	unsampled  chan struct{}                  // one slot: a lease may be new
	complete   bool                           // everything that etcd does not refuse was read for the first time
	read       chan struct{}                  // closed then
}

func newObserver(m *Member) *observer {
	o := &observer{etcd: m.Etcd, keys: m.keys(), ttl: m.TTL, had: m.session.had, moved: m.Moved, journal: m.Journal,
		queues: map[ref]*queue{}, samples: map[clientv3.LeaseID]sample{}, viewed: map[clientv3.LeaseID]sample{}, confirming: map[clientv3.LeaseID]chan struct{}{}, firstSeen: map[clientv3.LeaseID]time.Time{},
		longest:   max(m.TTL, time.Duration(m.Past.Longest)*time.Second),
		unsampled: make(chan struct{}, 1), read: make(chan struct{})}
	for _, prefix := range o.keys.spans() {
		o.spans = append(o.spans, &span{prefix: prefix, watching: m.Journal.Condition()})
	}
	own := o.span(m.Prefix)
	o.members, o.added = newRoster(m.Prefix+membersDir, own), newAddedCopy(own, m.Name)
	o.cluster = clusterCopy{span: own, changed: make(chan struct{})}
	if m.PoolPrefix != "" {
		o.pool = newPoolCopy(m.PoolPrefix, o.span(m.PoolPrefix), m.Journal.Condition())
	}
	return o
}

// view is a copy of a queue at a revision.
type view struct {
	entries     []entry
	until       time.Time
	former      string
	unconfirmed []expiry
	unrecorded  []unrecorded
	wanted      wanted
	revision    int64
	era         int
	// broken says that until is that of a break of etcd's history.
	broken bool
	// valid says that this is what etcd has now, as far as the watch tells.
	valid   bool
	read    bool      // it was read once
	vacated time.Time // when the last entry, of another member, vanished
}

// newest returns the token of the last in the queue, 0 if the queue is empty.
func (v view) newest() int64 {
	if len(v.entries) == 0 {
		return 0
	}
	return v.entries[len(v.entries)-1].token
}

// owner returns the member that owns the instance, "" if none does.
func (v view) owner() string {
	if len(v.entries) == 0 {
		return ""
	}
	return v.entries[0].Member
}

// view returns what is known of an instance and a channel that is closed at the
// next change of it.
func (o *observer) view(r ref) (view, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queue(r)
	v := view{slices.Clone(q.entries), q.until, q.former, slices.Clone(q.unconfirmed), slices.Clone(q.unrecorded), q.wanted,
		q.place.revision, q.place.era, false, o.valid(q.place), q.place.read, q.vacated}
	if until := o.quarantined(); until.After(v.until) {
		v.until, v.former, v.broken = until, "", true
	}
	return v, q.changed
}

// quarantined returns until when no member may become owner because etcd's history has
// broken: an owner of the former history may not have noticed before its lease must
// have ended. It is called with the lock held.
func (o *observer) quarantined() time.Time {
	_, _, broke := o.etcd.history.current()
	if broke.IsZero() {
		return broke
	}
	return broke.Add(o.longest)
}

func (o *observer) quarantine() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.quarantined()
}

func (o *observer) longestLease() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.longest
}

// lasts takes the time to live of a lease that is in use. It is called with the lock
// held.
func (o *observer) lasts(ttl time.Duration) { o.longest = max(o.longest, min(ttl, maxTTL)) }

// maxTTL bounds what is believed of other members' leases: a person may have put a
// value there by hand.
const maxTTL = 10 * time.Minute

// owner returns the member that owns the instance in etcd, as far as the watch tells;
// ok is false when no member owns it or the watch is interrupted.
func (o *observer) owner(r ref) (member string, lease clientv3.LeaseID, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queues[r]
	if q == nil || len(q.entries) == 0 || !o.valid(q.place) {
		return "", 0, false
	}
	return q.entries[0].Member, q.entries[0].lease, true
}

// begin notes that a campaign for an instance begins; call what it returns when
// the campaign has ended.
func (o *observer) begin(r ref) (end func()) {
	add := func(n int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		q := o.queue(r)
		q.campaigns += n
		o.tellForeign(r, q)
	}
	add(1)
	o.wakeSampler()
	return func() { add(-1) }
}

// hasCampaign reports whether this process has a campaign for an instance.
func (o *observer) hasCampaign(r ref) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue(r).campaigns > 0
}

// queue is called with the lock held.
func (o *observer) queue(r ref) *queue {
	q := o.queues[r]
	if q == nil {
		q = &queue{place: o.span(o.keys.place(r)), records: o.span(o.keys.record(releasedDir, r)),
			changed: make(chan struct{}), doubled: o.journal.Condition(), mixed: o.journal.Condition()}
		o.queues[r] = q
	}
	return q
}

// ring tells of a change. It is called after each.
func (q *queue) ring() {
	q.shared = nil
	close(q.changed)
	q.changed = make(chan struct{})
}

// forgettable reports whether nothing is known of a queue that any part needs.
func (q *queue) forgettable() bool {
	return q.campaigns == 0 && len(q.entries) == 0 && len(q.unconfirmed) == 0 && len(q.unrecorded) == 0 &&
		!q.until.After(time.Now()) && !q.doubled.Holds() && !q.mixed.Holds()
}

// vanish notes that the former owner has no entry any more, if that is so.
func (o *observer) vanish(q *queue, owner entry) {
	if !slices.ContainsFunc(q.entries, func(e entry) bool { return e.token == owner.token }) {
		q.vanished = append(q.vanished, owner)
	}
	if len(q.entries) == 0 && !o.had(owner.lease) {
		q.vacated = time.Now()
	}
}
