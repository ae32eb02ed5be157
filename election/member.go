package election

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Member is this process in the elections below one prefix: one lease, one copy
// of what is in etcd, any number of campaigns.
type Member struct {
	Etcd   *Etcd
	Prefix string // ends in a slash
	Name   string
	// Identity tells members apart that have the same name by mistake; empty if
	// there is none.
	Identity string
	// Past is what the process before this one has seen of etcd's history.
	Past Past
	// Session fields, see there.
	TTL     time.Duration
	Adopt   clientv3.LeaseID
	Keep    bool
	Leased  func(clientv3.LeaseID)
	Renewed func()
	// Moved, which may be nil, is told when an owner may have changed, here or
	// elsewhere. It must neither block nor call the member.
	Moved func()
	// Doubled, which may be nil, is told when another host takes part in the election
	// of an instance under the name of this one, and when that has ended. It must
	// neither block nor call the member.
	Doubled func(instance string, on bool)
	Metrics *Metrics // may be nil
	Log     *zap.Logger

	session *Session
	board   *Board
}

// Init completes a member whose exported fields are set. Call it before
// anything else.
func (m *Member) Init() {
	if m.Log == nil {
		m.Log = zap.NewNop()
	}
	m.session = &Session{Etcd: m.Etcd, TTL: m.TTL, Adopt: m.Adopt, Keep: m.Keep, Leased: m.Leased, Renewed: m.Renewed, Metrics: m.Metrics, Log: m.Log}
	if m.Moved == nil {
		m.Moved = func() {}
	}
	m.board = newBoard(m)
	m.Etcd.history.begin(m.Prefix, m.Past, m.Log)
	m.Metrics.begin()
}

// Run takes part while run runs, which starts the campaigns and returns when
// they have ended, with the cause of their end. Then the lease is given back,
// unless that cause matches ErrLeave. It returns what run returned.
func (m *Member) Run(ctx context.Context, run func(context.Context) error) error {
	m.session.hear() // silence counts from here
	// The lease outlives the campaigns, which need it to end in order.
	own, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	parts.Go(func() { _ = m.session.Run(own) })
	parts.Go(func() { _ = m.board.run(own) })
	parts.Go(func() { _ = m.board.watchLeases(own, m.session.Lease, m.tellDoubles) })
	parts.Go(func() { m.tidy(own) })
	parts.Go(func() { m.watchHistory(own) })
	err := run(ctx)
	end(err)
	parts.Wait()
	return err
}

// Owner returns the member that owns the instance by etcd's word and whether
// that is another one than this process; ok is false while unknown.
func (m *Member) Owner(instance string) (name string, other, ok bool) {
	name, lease, ok := m.board.Owner(instance)
	return name, !m.session.had(lease), ok
}

// place is what this member writes into a queue, but for what the campaign adds.
func (m *Member) place() Place { return Place{Member: m.Name, Identity: m.Identity} }

// is reports whether a place is that of this member, by a lease of this process or
// one before it.
func (m *Member) is(e entry) bool { return m.session.had(e.lease) || e.same(m.place()) }

// End returns when the lease ends, the zero time if there is none.
func (m *Member) End() time.Time {
	if t, _, _ := m.session.state(); t != nil {
		return t.End()
	}
	return time.Time{}
}

// Kept reports whether the lease is kept without etcd's word. A successor could
// not adopt it now.
func (m *Member) Kept() bool {
	return !m.Unacknowledged().IsZero()
}

// Unacknowledged returns since when etcd has not acknowledged a lease that is kept
// without it, the zero time if none is.
func (m *Member) Unacknowledged() time.Time {
	t, _, _ := m.session.state()
	if t == nil {
		return time.Time{}
	}
	kept, since := t.isKept()
	if !kept {
		return time.Time{}
	}
	return since
}

// Seen returns what the next process must know of etcd's history; ok is false while
// that is what it was told before: while nothing is known, and until the wait after
// a break is over, which the next process has to begin anew.
func (m *Member) Seen() (p Past, ok bool) {
	p = m.Etcd.history.seen()
	p.Longest = int64(m.board.longestLease() / time.Second)
	return p, p.Cluster != 0 && p.Revision != 0 && !m.Etcd.history.unchecked() && !m.board.quarantine().After(time.Now())
}

// Begun waits until etcd has acknowledged a lease and what is in etcd is known,
// and reports whether the lease is the one to adopt.
func (m *Member) Begun(ctx context.Context) (adopted bool, err error) {
	for {
		t, _, changed := m.session.state()
		if t != nil {
			select {
			case <-ctx.Done():
				return false, context.Cause(ctx)
			case <-m.board.read:
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

// tidyInterval is how long an adopted place may wait for its campaign.
const tidyInterval = 3 * time.Second

// tidy gives up places of an adopted lease for which nobody campaigns any more:
// they would keep all others out for as long as the lease lives.
func (m *Member) tidy(ctx context.Context) {
	if m.Adopt == 0 {
		return
	}
	if adopted, err := m.Begun(ctx); err != nil || !adopted {
		return
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(tidyInterval):
	}
	for instance, e := range m.board.places(m.Adopt) {
		if m.board.followed(instance) {
			continue
		}
		if err := m.resign(ctx, instance, e.key, e.token, owned); err != nil && !errors.Is(err, context.Canceled) {
			m.Log.Warn("cannot give up a place that nobody here wants any more", zap.String("instance", instance), zap.Error(err))
		}
	}
}
