package election

import (
	"context"
	"sync"
	"time"

	"berth/internal/journal"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Member is this process in the elections below one prefix: one lease, one copy
// of the keys in etcd, any number of campaigns.
type Member struct {
	Etcd   *Etcd
	Prefix string // ends in a slash
	// Places are where the candidates of some instances stand, by instance: a key that ends
	// in a slash, below which no other key lies. The other instances have theirs below
	// Prefix. Programs that use etcd's own election recipe may stand there too.
	Places map[string]string
	// PoolPrefix is above the keys of the pool, and ends in a slash; empty for none. With
	// the same Prefix and no campaign but for the pool, nothing else in etcd is touched.
	PoolPrefix string
	Name       string
	// Identity tells members apart that have the same name by mistake; empty if
	// there is none.
	Identity string
	// Past is what the process before this one has seen of etcd's history.
	Past Past
	// TTL, Adopt, Retain, Leased and Renewed are those of the [Session].
	TTL     time.Duration
	Adopt   clientv3.LeaseID
	Retain  bool
	Leased  func(clientv3.LeaseID)
	Renewed func()
	// Moved, which may be nil, is told when an owner may have changed, here or
	// elsewhere. It must neither block nor call the member.
	Moved func()
	// Late is how long after the start of the member its campaigns can begin; a key of the
	// process before this one waits for them. Without it they begin at once.
	Late time.Duration
	// Claims says that campaigns may act alone, also before etcd has ever answered.
	Claims bool
	// Doubled, which may be nil, is told when another host takes part in the election
	// of an instance, or in that of PoolInstance, under the name of this one, and when that
	// has ended. It must
	// neither block nor call the member.
	Doubled func(instance string, on bool)
	Metrics *Metrics         // may be nil
	Journal *journal.Journal // nil tells nothing

	session  *Session
	observer *observer
	writer   *writer
	lone     *lone
	pulse    pulse
	left     left
}

// Init completes a member whose exported fields are set. Call it before
// anything else.
func (m *Member) Init() {
	if m.Journal == nil {
		m.Journal = journal.New(nil)
	}
	m.session = &Session{Etcd: m.Etcd, TTL: m.TTL, Adopt: m.Adopt, Retain: m.Retain, Leased: m.Leased, Renewed: m.Renewed,
		Metrics: m.Metrics, Journal: m.Journal}
	if m.Moved == nil {
		m.Moved = func() {}
	}
	if m.Renewed == nil {
		m.Renewed = func() {}
	}
	m.observer = newObserver(m)
	m.writer = newWriter(m.Etcd, m.observer.span)
	m.lone = &lone{ttl: m.TTL, renewed: m.Renewed, metrics: m.Metrics, wake: make(chan struct{}, 1)}
	m.Etcd.history.begin(m.Prefix, m.Past, m.Journal)
	m.Metrics.begin()
}

// Run takes part while run runs, which starts the campaigns and returns when
// they have ended, with the cause of their end. Then the lease is revoked,
// unless that cause matches ErrLeave. It returns what run returned.
func (m *Member) Run(ctx context.Context, run func(context.Context) error) error {
	m.session.begin() // the time without an answer of etcd counts from here
	m.pulse.beat()
	// The lease outlives the campaigns, which need it to end in order.
	parts, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { _ = m.session.Run(parts) })
	running.Go(func() { _ = m.observer.run(parts) })
	running.Go(func() { m.writer.run(parts) })
	running.Go(func() { m.lone.run(parts) })
	running.Go(func() { every(parts, retainTick, func() { m.pulse.beat() }) })
	running.Go(func() { _ = m.observer.sampleLeases(parts, m.session.Lease, m.tellDoubles) })
	running.Go(func() { m.resignUnclaimed(parts) })
	running.Go(func() { m.resignLeft(parts) })
	running.Go(func() { m.withdrawNodes(parts) })
	running.Go(func() { m.tidyRecords(parts) })
	running.Go(func() { m.watchHistory(parts) })
	err := run(ctx)
	end(err)
	running.Wait()
	return err
}

// every calls f at an interval until ctx ends, and for the first time after one interval.
func every(ctx context.Context, interval time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// Owner returns the member that owns the instance in etcd and whether that is another
// process than this one; ok is false while unknown.
func (m *Member) Owner(instance string) (name string, other, ok bool) {
	name, lease, ok := m.observer.owner(ref{name: instance})
	return name, !m.session.had(lease), ok
}

// keys says where the keys of this member are.
func (m *Member) keys() keyspace { return keyspace{m.Prefix, m.PoolPrefix, m.Places} }

// candidacy is what this member writes into a queue, but for what the campaign adds.
func (m *Member) candidacy() candidacy { return candidacy{Member: m.Name, Identity: m.Identity} }

// is reports whether an entry is that of this member, by a lease of this process or
// the one before it.
func (m *Member) is(e entry) bool { return m.session.had(e.lease) || e.same(m.candidacy()) }

// End returns when the permissions of this member's campaigns end unless they are
// renewed: with the lease, or that to act without etcd; the zero time if there is neither.
func (m *Member) End() time.Time {
	if t, _, _ := m.session.state(); t != nil {
		return t.End()
	}
	return m.lone.until()
}

// Retained reports whether this member goes on although etcd has not acknowledged its
// lease in time. A successor could not take over what it owns now.
func (m *Member) Retained() bool {
	return !m.Unacknowledged().IsZero()
}

// Unacknowledged returns since when etcd has acknowledged no lease of a member that goes
// on all the same, the zero time if it does not.
func (m *Member) Unacknowledged() time.Time {
	t, acknowledged, _ := m.session.state()
	if t == nil {
		if m.lone.until().IsZero() {
			return time.Time{}
		}
		return acknowledged
	}
	retained, since := t.isRetained()
	if !retained {
		return time.Time{}
	}
	return since
}

// Seen returns what the next process must know of etcd's history; ok is false while
// that is what this process was told itself: while nothing is known, and until the wait
// after a break is over, which the next process has to begin anew.
func (m *Member) Seen() (p Past, ok bool) {
	p = m.Etcd.history.seen()
	p.Longest = int64(m.observer.longestLease() / time.Second)
	return p, p.Cluster != 0 && p.Revision != 0 && !m.Etcd.history.unchecked() && !m.observer.quarantine().After(time.Now())
}

// Begun waits until etcd has acknowledged a lease and the keys in etcd are known, but for
// those below a place or a prefix of the pool that etcd refuses to tell, and reports whether the lease is the one to adopt. With Claims it waits for no longer
// than a lease lasts.
func (m *Member) Begun(ctx context.Context) (adopted bool, err error) {
	if !m.Claims {
		return m.begun(ctx)
	}
	waiting, cancel := context.WithDeadline(ctx, m.session.begun().Add(m.TTL))
	defer cancel()
	if adopted, err = m.begun(waiting); err != nil && ctx.Err() == nil {
		return false, nil
	}
	return adopted, err
}

func (m *Member) begun(ctx context.Context) (adopted bool, err error) {
	for {
		t, _, changed := m.session.state()
		if t != nil {
			select {
			case <-ctx.Done():
				return false, context.Cause(ctx)
			case <-m.observer.read:
			}
			return m.Adopt != 0 && t.Lease == m.Adopt, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-changed:
		}
	}
}
