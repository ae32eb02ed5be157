package election

import (
	"slices"
	"sync"
	"time"

	"berth/internal/journal"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// queue is what is known of the election of one instance.
type queue struct {
	campaigns int     // of this process
	entries   []entry // the owner first
	vanished  []entry // former owners for which decideWaits has not been called yet
	released  int64
	// withdrawn are tokens that were given up unused, since decideWaits was last called.
	withdrawn   []int64
	until       time.Time // no new owner before this moment, see decideWaits
	former      string    // the member because of which
	unconfirmed []expiry  // to be confirmed by the next owner
	wanted      wanted
	doubled     *journal.Condition // another host takes part under the name of this one
	changed     chan struct{}
}

// observer has a copy of the keys below the prefix, kept current by one watch for all
// instances. It is safe for concurrent use.
type observer struct {
	etcd     *Etcd
	prefix   string
	ttl      time.Duration               // stands for that of a lease which was never sampled
	had      func(clientv3.LeaseID) bool // whether a lease is or was this process's
	moved    func()                      // told of each change, with the lock held; must not block
	journal  *journal.Journal
	watching *journal.Condition

	mu        sync.Mutex
	current   bool // the watch is alive
	era       int  // of etcd's history, to which the rest belongs
	revision  int64
	queues    map[string]*queue
	samples   map[clientv3.LeaseID]sample
	longest   time.Duration                  // time to live of a lease in use
	firstSeen map[clientv3.LeaseID]time.Time // leases of others under this member's name
	unsampled chan struct{}                  // one slot: a lease may be new
	read      chan struct{}                  // closed when everything was read for the first time
}

func newObserver(m *Member) *observer {
	return &observer{etcd: m.Etcd, prefix: m.Prefix, ttl: m.TTL, had: m.session.had, moved: m.Moved,
		journal: m.Journal, watching: m.Journal.Condition(),
		queues: map[string]*queue{}, samples: map[clientv3.LeaseID]sample{}, firstSeen: map[clientv3.LeaseID]time.Time{},
		longest:   max(m.TTL, time.Duration(m.Past.Longest)*time.Second),
		unsampled: make(chan struct{}, 1), read: make(chan struct{})}
}

// view is a copy of a queue at a revision.
type view struct {
	entries     []entry
	until       time.Time
	former      string
	unconfirmed []expiry
	wanted      wanted
	revision    int64
	era         int
	// broken says that until is that of a break of etcd's history.
	broken bool
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
func (o *observer) view(instance string) (view, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queue(instance)
	v := view{slices.Clone(q.entries), q.until, q.former, slices.Clone(q.unconfirmed), q.wanted, o.revision, o.era, false}
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
func (o *observer) owner(instance string) (member string, lease clientv3.LeaseID, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queues[instance]
	era, _, _ := o.etcd.history.current()
	if !o.current || o.era != era || q == nil || len(q.entries) == 0 {
		return "", 0, false
	}
	return q.entries[0].Member, q.entries[0].lease, true
}

// under returns the entries under a lease, by instance.
func (o *observer) under(lease clientv3.LeaseID) map[string]entry {
	o.mu.Lock()
	defer o.mu.Unlock()
	found := map[string]entry{}
	for name, q := range o.queues {
		for _, e := range q.entries {
			if e.lease == lease {
				found[name] = e
			}
		}
	}
	return found
}

// begin notes that a campaign for an instance begins; call what it returns when
// the campaign has ended.
func (o *observer) begin(instance string) (end func()) {
	add := func(n int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.queue(instance).campaigns += n
	}
	add(1)
	o.wakeSampler()
	return func() { add(-1) }
}

// hasCampaign reports whether this process has a campaign for an instance.
func (o *observer) hasCampaign(instance string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue(instance).campaigns > 0
}

// queue is called with the lock held.
func (o *observer) queue(instance string) *queue {
	q := o.queues[instance]
	if q == nil {
		q = &queue{changed: make(chan struct{}), doubled: o.journal.Condition()}
		o.queues[instance] = q
	}
	return q
}

func (q *queue) ring() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// vanish notes that the former owner has no entry any more, if that is so.
func (q *queue) vanish(owner entry) {
	if !slices.ContainsFunc(q.entries, func(e entry) bool { return e.token == owner.token }) {
		q.vanished = append(q.vanished, owner)
	}
}
