package added_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/owner"
	"berth/vrrp"
)

const prefix = "/berth/"

// etcd has the keys of added addresses and the owners of their elections, for any number
// of members in one process.
type etcd struct {
	t *testing.T

	mu      sync.Mutex // guards all below
	rev     int64
	era     int
	keys    map[string]election.AddedValue // by key
	queue   map[string][]string            // by instance: its candidates, the owner first
	yields  map[string]string              // by instance, the owner that is asked to give up
	silent  bool                           // it answers nothing
	refuses error                          // what it answers to a change of a key
	changed chan struct{}
	bound   map[netip.Addr]string // by address, the member that has it on its interface
	moves   int                   // how often an address was bound
	swaps   int
}

func newEtcd(t *testing.T) *etcd {
	return &etcd{t: t, rev: 1, keys: map[string]election.AddedValue{}, queue: map[string][]string{}, yields: map[string]string{}, changed: make(chan struct{}), bound: map[netip.Addr]string{}}
}

// change makes one revision.
func (e *etcd) change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rev++
	f()
	close(e.changed)
	e.changed = make(chan struct{})
}

// put is what a person does with etcdctl.
func (e *etcd) put(member, name, value string) {
	e.change(func() {
		e.keys[election.AddedKey(prefix, member, name)] = election.AddedValue{Value: []byte(value), Revision: e.rev}
	})
}

func (e *etcd) del(member, name string) {
	e.change(func() { delete(e.keys, election.AddedKey(prefix, member, name)) })
}

// history replaces all keys: etcd was restored from a backup, or wiped.
func (e *etcd) history(keys map[string]election.AddedValue) {
	e.change(func() {
		e.rev, e.era, e.keys = 1, e.era+1, map[string]election.AddedValue{}
		maps.Copy(e.keys, keys)
	})
}

func (e *etcd) list(member string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, a := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1"} {
		if v, there := e.keys[election.AddedKey(prefix, member, a)]; there {
			all = append(all, a+"="+string(v.Value))
		}
	}
	return strings.Join(all, "\n")
}

func (e *etcd) has(a string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bound[netip.MustParseAddr(a)]
}

func (e *etcd) Swap(ctx context.Context, key string, was int64, value []byte) (revision int64, done bool, err error) {
	e.mu.Lock()
	silent, refuses := e.silent, e.refuses
	e.mu.Unlock()
	if silent {
		<-ctx.Done()
		return 0, false, context.Cause(ctx)
	}
	if refuses != nil {
		return 0, false, refuses
	}
	e.change(func() {
		e.swaps++
		if revision = e.keys[key].Revision; revision != was {
			return
		}
		revision, done = e.rev, true
		if delete(e.keys, key); value != nil {
			e.keys[key] = election.AddedValue{Value: bytes.Clone(value), Revision: e.rev}
		}
	})
	return revision, done, nil
}

// member is a member of the fake, with the interface of its host.
type member struct {
	*etcd
	name       string
	blind      bool // etcd cannot be reached; guarded by the lock of etcd
	unmanaged  map[netip.Addr]bool
	unbindable map[netip.Addr]bool
	presume    []string // of the set
	condition.Value
}

func (m *member) Added() (election.AddedKeys, bool, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blind {
		return election.AddedKeys{}, false, m.changed
	}
	keys := election.AddedKeys{Revision: m.rev, Era: m.era, Values: map[string]election.AddedValue{}}
	for key, v := range m.keys {
		if name, own := strings.CutPrefix(key, election.AddedKey(prefix, m.name, "")); own {
			name, _ = url.PathUnescape(name)
			keys.Values[name] = v
		}
	}
	return keys, true, m.changed
}

func (m *member) Acknowledged() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.blind && !m.silent
}

func (m *member) Owner(instance string) (name string, other, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.queue[instance]; len(q) > 0 && !m.blind {
		return q[0], q[0] != m.name, true
	}
	return "", false, false
}

// leaves removes the member from a queue.
func (m *member) leaves(instance string) {
	m.change(func() {
		var rest []string
		for _, name := range m.queue[instance] {
			if name != m.name {
				rest = append(rest, name)
			}
		}
		m.queue[instance] = rest
	})
}

// Campaign is in the queue while its condition holds, and owns while it is the first.
func (m *member) Campaign(ctx context.Context, c election.Campaign, holding func(context.Context, int64, owner.Grant) error) error {
	able, stop := condition.Signal(c.Able)
	defer stop()
	defer func() {
		if !errors.Is(context.Cause(ctx), election.ErrLeave) {
			m.leaves(c.Instance)
		}
	}()
	tell := func(s election.Status) { s.Instance = c.Instance; c.Changed(s) }
	for ctx.Err() == nil {
		m.mu.Lock()
		q, changed, blind, yields := m.queue[c.Instance], m.changed, m.blind, m.yields[c.Instance]
		m.mu.Unlock()
		ok, why := c.Able.State()
		var wait <-chan time.Time
		switch {
		case !ok:
			for _, name := range q {
				if name == m.name {
					m.leaves(c.Instance)
				}
			}
			tell(election.Status{State: vrrp.Fault, Reason: why})
		case blind && c.Alone:
			tell(election.Status{State: vrrp.Master, Owner: m.name, Reason: "acting without etcd"})
			m.own(ctx, c, able, holding, func() bool { return m.blind })
			continue
		case blind:
			tell(election.Status{State: vrrp.Fault, Reason: election.ErrNoAnswer.Error()})
		case len(q) == 0 || !contains(q, m.name):
			m.change(func() { m.queue[c.Instance] = append(m.queue[c.Instance], m.name) })
			continue
		case yields == m.name:
			m.leaves(c.Instance)
			m.change(func() { delete(m.yields, c.Instance) })
			continue
		case q[0] == m.name:
			tell(election.Status{State: vrrp.Master, Owner: m.name, Token: 7, Reason: "elected"})
			if err := m.own(ctx, c, able, holding, func() bool {
				q := m.queue[c.Instance]
				return !m.blind && len(q) > 0 && q[0] == m.name && m.yields[c.Instance] != m.name
			}); err != nil {
				m.leaves(c.Instance)
				tell(election.Status{State: vrrp.Fault, Reason: err.Error()})
				wait = time.After(2 * time.Second)
				changed, able = nil, nil
			} else {
				continue
			}
		default:
			tell(election.Status{State: vrrp.Backup, Owner: q[0], Reason: "another member is the owner"})
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-able:
		case <-wait:
			able, stop = condition.Signal(c.Able)
			defer stop()
		}
	}
	return context.Cause(ctx)
}

func contains(q []string, name string) bool {
	for _, n := range q {
		if n == name {
			return true
		}
	}
	return false
}

// own runs the holding while the condition holds and stands is true, and returns its own
// error.
func (m *member) own(ctx context.Context, c election.Campaign, able <-chan struct{}, holding func(context.Context, int64, owner.Grant) error, stands func() bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- holding(ctx, 7, grant{}) }()
	for {
		m.mu.Lock()
		changed, still := m.changed, stands()
		m.mu.Unlock()
		if ok, why := c.Able.State(); !ok {
			cancel(&election.UnableError{Reason: why})
		} else if !still {
			cancel(election.ErrHandOver)
		}
		select {
		case err := <-done:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-able:
		case <-changed:
		}
	}
}

// grant is a permission that stands.
type grant struct{}

func (grant) Check() error   { return nil }
func (grant) End() time.Time { return time.Now().Add(4 * time.Second) }

// The methods of the interface.

// unmanaged is the error about an address.
type unmanaged struct{ netip.Prefix }

func (u unmanaged) Unmanaged() netip.Prefix { return u.Prefix }
func (u unmanaged) Error() string {
	return fmt.Sprintf("manage %v: net.ipv4.conf.eth0.promote_secondaries is 0", u.Prefix)
}

func (m *member) Manage(all []netip.Prefix) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, p := range all {
		if m.unmanaged[p.Addr()] {
			errs = append(errs, unmanaged{p})
		}
	}
	return errors.Join(errs...)
}

func (m *member) Bind(ctx context.Context, addrs []netip.Prefix, bound func()) error {
	m.mu.Lock()
	for _, p := range addrs {
		if m.unbindable[p.Addr()] {
			m.mu.Unlock()
			return fmt.Errorf("bind %v: permission denied", p)
		}
		if other := m.bound[p.Addr()]; other != "" && !m.blind {
			m.t.Errorf("%v is bound on %s and %s", p, other, m.name)
		}
		m.bound[p.Addr()] = m.name
		m.moves++
	}
	m.mu.Unlock()
	bound()
	<-ctx.Done()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range addrs {
		if m.bound[p.Addr()] == m.name {
			delete(m.bound, p.Addr())
		}
	}
	return context.Cause(ctx)
}

func (m *member) Sweep(func(netip.Prefix) bool) error { return nil }
func (m *member) Announce()                           {}
