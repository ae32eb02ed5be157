package election

import (
	"fmt"
	"slices"
	"time"

	"berth/internal/journal"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// dropDoubles ends what tellDoubles and tellForeign told: the end of this process is not
// that of the other host.
func (o *observer) dropDoubles() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range o.queues {
		q.doubled.Drop()
		q.mixed.Drop()
	}
	if o.pool != nil {
		o.pool.doubled.Drop()
	}
}

// PoolInstance stands for the pool where Member.Doubled is told about an instance.
const PoolInstance = "pool"

// tellDoubles tells for each instance, and for the pool as a whole, when another host
// takes part under the name of this one, and when that has ended. A host that was booted
// again, cloned or started anew as a container leaves a key under its name for as long as
// its lease lives; so only a lease that outlives its time to live is another host's.
func (m *Member) tellDoubles() {
	o := m.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	present := map[clientv3.LeaseID]bool{}
	var pool *entry
	for r, q := range o.queues {
		if q.campaigns == 0 && !r.pool {
			continue
		}
		var other *entry
		for i := range q.entries {
			if m.outlasts(&q.entries[i], present) {
				other = &q.entries[i]
			}
		}
		if !r.pool {
			m.tellDouble(q.doubled, r.name, other)
		} else if other != nil {
			pool = other
		}
	}
	if o.pool != nil {
		if n, there := o.pool.nodes.nodes[m.Name]; there && m.outlasts(&n.entry, present) {
			pool = &n.entry
		}
		m.tellDouble(o.pool.doubled, PoolInstance, pool)
	}
	for lease := range o.firstSeen {
		if !present[lease] {
			delete(o.firstSeen, lease)
		}
	}
}

// outlasts reports whether an entry has this member's name, and its lease has outlived its
// time to live without being this member's. It notes which leases there are. It is called
// with the lock held.
func (m *Member) outlasts(e *entry, present map[clientv3.LeaseID]bool) bool {
	if e.Member != m.Name || m.is(*e) {
		return false
	}
	o, now := m.observer, time.Now()
	present[e.lease] = true
	if o.firstSeen[e.lease].IsZero() {
		o.firstSeen[e.lease] = now
	}
	ttl := max(o.ttl, time.Duration(e.TTL)*time.Second, o.samples[e.lease].granted)
	return now.Sub(o.firstSeen[e.lease]) > ttl+sampleInterval
}

// tellDouble tells of the entry of another host under this member's name, nil if there
// is none.
func (m *Member) tellDouble(doubled *journal.Condition, instance string, other *entry) {
	if doubled.Holds() == (other != nil) {
		return
	}
	named := []zap.Field{zap.String("instance", instance), zap.String("member", m.Name)}
	if other != nil {
		doubled.Fail(memberDoubled, fmt.Errorf("the member of identity %q has lease %x", other.Identity, int64(other.lease)),
			append(named, zap.String("identity", m.Identity))...)
	} else {
		doubled.Clear(named...)
	}
	if m.Doubled != nil {
		m.Doubled(instance, other != nil)
	}
}

// tellForeign tells when a program other than berth is in the queue of an instance for
// which this process has a campaign, and when none is any more. It is called with the lock
// held.
func (o *observer) tellForeign(r ref, q *queue) {
	i := -1
	if q.campaigns > 0 && !r.pool {
		i = slices.IndexFunc(q.entries, func(e entry) bool { return e.foreign })
	}
	switch {
	case i >= 0:
		q.mixed.Fail(candidateForeign, fmt.Errorf("%s, with lease %x", q.entries[i].Member, int64(q.entries[i].lease)), zap.String("instance", r.name))
	case q.campaigns > 0:
		q.mixed.Clear(zap.String("instance", r.name))
	default:
		q.mixed.Drop()
	}
}
