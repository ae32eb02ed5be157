package election

import (
	"context"
	"fmt"
	"sync"
	"time"

	"berth/internal/journal"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ClusterKeys is what etcd has of all members at one revision, for people. Nobody may
// change it.
type ClusterKeys struct {
	Revision int64 // of the keys below the prefix of the elections
	// Era counts the breaks of etcd's history.
	Era       int
	Members   map[string]MemberKey   // that tell of themselves with TellMember
	Instances map[string][]Candidate // by instance; the owner is the first
	// Released are the tokens that owners last gave up by their own will, by instance: an
	// owner whose token is not here has lost its key with its lease.
	Released map[string]int64
	Pool     *PoolKeys // nil without one
}

// MemberKey is what a member tells of itself.
type MemberKey struct {
	Value []byte // what the member told with TellMember
	Own   bool   // as in PoolNode
	// Left is the least time after which etcd ends the lease of the member unless that is
	// renewed, 0 if it is not known.
	Left  time.Duration
	Since time.Time // when the member began to tell, by its clock
}

// Candidate is a member in the queue of an instance.
type Candidate struct {
	Member    string
	Foreign   bool // it is a program other than berth, whose text stands for a name
	Own       bool // as in PoolNode
	Token     int64
	Since     time.Time     // when the member came into the queue, by its clock
	Addresses []string      // as in Campaign
	Left      time.Duration // as in MemberKey
}

// clusterCopy is the observer's ClusterKeys, which the lock of the observer guards.
type clusterCopy struct {
	span    *span
	keys    *ClusterKeys  // nil after any change
	made    time.Time     // since when Left counts in it
	asked   time.Time     // when Cluster was last called
	changed chan struct{} // closed at the next change
}

const (
	// clusterAge is how long a copy serves if nothing changes; then it is made again
	// because of Left.
	clusterAge = 250 * time.Millisecond
	// clusterAsked is for how long after a call of Cluster the leases of all members are
	// sampled.
	clusterAsked = 10 * time.Second
)

func (c *clusterCopy) ring() {
	c.keys = nil
	close(c.changed)
	c.changed = make(chan struct{})
}

// Cluster returns what etcd has of all members, known is false until everything that etcd
// does not refuse was read, and a channel that is closed at the next change of a key. Left
// is exact to a quarter of a second; its change alone is told to nobody.
func (m *Member) Cluster() (keys ClusterKeys, known bool, changed <-chan struct{}) {
	term, _, _ := m.session.state()
	o := m.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	c, now := &o.cluster, time.Now()
	c.asked = now
	if !o.complete {
		return ClusterKeys{}, false, c.changed
	}
	if anew := now.Sub(c.made) >= clusterAge; anew || c.keys == nil {
		c.keys = o.clusterKeys(term, anew)
	}
	return *c.keys, true, c.changed
}

// lasting is a lease as people are told of it.
type lasting struct {
	own  bool
	left time.Duration
}

// clusterKeys makes a copy for a member with a term, which may be nil: a wholly new one, or
// one that shares with the last one what has not changed. It is called with the lock held.
func (o *observer) clusterKeys(term *Term, anew bool) *ClusterKeys {
	s := o.cluster.span
	k := &ClusterKeys{Revision: s.revision, Era: s.era, Members: make(map[string]MemberKey, len(o.members.nodes)), Instances: make(map[string][]Candidate, len(o.queues)), Released: map[string]int64{}}
	now := time.Now()
	if anew {
		o.cluster.made = now
	}
	leases := map[clientv3.LeaseID]lasting{}
	of := func(lease clientv3.LeaseID) lasting {
		l, known := leases[lease]
		if !known {
			l = lasting{o.had(lease), o.left(lease, term, now)}
			leases[lease] = l
		}
		return l
	}
	for name, n := range o.members.nodes {
		l := of(n.lease)
		k.Members[name] = MemberKey{n.value, l.own, l.left, n.Since}
	}
	for r, q := range o.queues {
		if r.pool || len(q.entries) == 0 {
			continue
		}
		if q.shared == nil || anew {
			q.shared = make([]Candidate, len(q.entries))
			for i, e := range q.entries {
				l := of(e.lease)
				q.shared[i] = Candidate{e.Member, e.foreign, l.own, e.token, e.Since, e.Addresses, l.left}
			}
		}
		k.Instances[r.name] = q.shared
		if q.released != 0 {
			k.Released[r.name] = q.released
		}
	}
	if o.pool != nil && o.pool.span.read {
		if o.pool.keys == nil {
			o.pool.keys = o.poolKeys()
		}
		k.Pool = o.pool.keys
	}
	return k
}

// left returns how long a lease lasts unless it is renewed, 0 if that is not known.
func (o *observer) left(lease clientv3.LeaseID, term *Term, now time.Time) time.Duration {
	if term != nil && term.Lease == lease {
		return term.left()
	}
	s, known := o.samples[lease]
	if !known {
		s, known = o.viewed[lease]
	}
	if !known {
		return 0
	}
	return max(0, s.left-now.Sub(s.asked))
}

// left returns the time after which etcd can end the lease, by the last renewal that it
// acknowledged.
func (t *Term) left() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, time.Until(t.acknowledged.Add(t.ttl-t.suspended())))
}

// Cluster reads what Member.Cluster tells, once and at one revision. Own is false for all.
// places are as in Member, and poolPrefix is empty where there is no pool.
func (e *Etcd) Cluster(ctx context.Context, prefix, poolPrefix string, places map[string]string) (ClusterKeys, error) {
	m := &Member{Etcd: e, Prefix: prefix, PoolPrefix: poolPrefix, Places: places, Journal: journal.New(nil), Moved: func() {}, session: &Session{}}
	o := newObserver(m)
	var ops []clientv3.Op
	for _, s := range o.spans {
		ops = append(ops, clientv3.OpGet(s.prefix, clientv3.WithPrefix()))
	}
	era, _, _ := e.history.current()
	r, err := e.Transact(ctx, ops...)
	if err != nil {
		return ClusterKeys{}, fmt.Errorf("read the cluster below %s: %w", prefix, err)
	}
	for i, s := range o.spans {
		o.load(s, r.Responses[i].GetResponseRange().Kvs, r.Header.Revision, era)
	}
	o.cluster.asked = time.Now()
	var asking sync.WaitGroup
	needed, viewed := o.leases(0)
	for _, lease := range append(needed, viewed...) {
		asking.Go(func() { o.sample(ctx, lease, o.viewed) })
	}
	asking.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return *o.clusterKeys(nil, true), nil
}
