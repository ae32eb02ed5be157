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
	// Session fields, see there.
	TTL     time.Duration
	Adopt   clientv3.LeaseID
	Keep    bool
	Leased  func(clientv3.LeaseID)
	Renewed func()
	// Moved, which may be nil, is told when an owner may have changed, here or
	// elsewhere. It must neither block nor call the member.
	Moved   func()
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
	parts.Go(func() { _ = m.board.watchLeases(own, m.session.Lease) })
	parts.Go(func() { m.tidy(own) })
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
	t, _, _ := m.session.state()
	return t != nil && t.isKept()
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
