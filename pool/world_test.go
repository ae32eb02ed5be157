package pool_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/owner"
	"berth/internal/status"
	"berth/pool"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// etcd has the keys of a pool, for any number of members in one process.
type etcd struct {
	t *testing.T

	mu      sync.Mutex
	rev     int64
	era     int
	ips     map[string]bool
	nodes   map[string][]byte
	drained map[string]bool
	held    map[string]string
	changed chan struct{}
	twice   []string // addresses that two hosts had at once
	bound   map[netip.Addr]string
	moves   int // how often an address was bound
}

func newEtcd(t *testing.T) *etcd {
	return &etcd{t: t, rev: 1, ips: map[string]bool{}, nodes: map[string][]byte{}, drained: map[string]bool{}, held: map[string]string{},
		changed: make(chan struct{}), bound: map[netip.Addr]string{}}
}

// change makes one revision.
func (e *etcd) change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
	e.rev++
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *etcd) list(add bool, names ...string) {
	e.change(func() {
		for _, n := range names {
			if delete(e.ips, n); add {
				e.ips[n] = true
			}
		}
	})
}

// holders returns how many addresses each member has.
func (e *etcd) holders() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := map[string]int{}
	for a, m := range e.held {
		if addr := netip.MustParseAddr(a); e.bound[addr] != m {
			e.t.Errorf("%v: %s has the key, %q has the address bound", a, m, e.bound[addr])
		}
		n[m]++
	}
	var parts []string
	for _, m := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%s:%d", m, n[m]))
	}
	return strings.Join(parts, " ")
}

// member is a member of the fake, with the interface of its host.
type member struct {
	*etcd
	name   string
	behind bool // it does not hear of changes
	copy   election.PoolKeys
	lost   bool // etcd acknowledges nothing
	refuse map[netip.Addr]bool
	// unbindable are addresses that the kernel of this host does not take.
	unbindable map[netip.Addr]bool
	announced  int // how often all addresses were announced anew
	manage     []netip.Prefix
	condition.Value
}

func (m *member) Pool() (election.PoolKeys, bool, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.behind {
		k := election.PoolKeys{Revision: m.rev, Era: m.era, IPs: slices.Sorted(maps.Keys(m.ips)), Nodes: map[string]election.PoolNode{},
			Drained: maps.Clone(m.drained), Held: map[string]election.PoolHolder{}}
		for n, v := range m.nodes {
			k.Nodes[n] = election.PoolNode{Value: v, Own: n == m.name}
		}
		for a, h := range m.held {
			k.Held[a] = election.PoolHolder{Member: h, Own: h == m.name}
		}
		m.copy = k
	}
	return m.copy, m.copy.Revision > 0, m.changed
}

func (m *member) Acknowledged() bool { return !m.lost }

func (m *member) Present(ctx context.Context, value func() []byte, changed <-chan struct{}) error {
	for {
		m.change(func() { m.nodes[m.name] = value() })
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), election.ErrLeave) {
				m.change(func() { delete(m.nodes, m.name) })
			}
			return context.Cause(ctx)
		case <-changed:
		}
	}
}

// Campaign has the key of an address while the address is free and the condition holds.
func (m *member) Campaign(ctx context.Context, c election.Campaign, holding func(context.Context, int64, owner.Grant) error) error {
	// A campaign without a wish would give up the key of an address that was adopted.
	if ok, why := c.Able.State(); !ok && why == "waiting for etcd" {
		m.t.Errorf("want the wish for %s before its campaign begins", c.Instance)
	}
	able, stop := condition.Signal(c.Able)
	defer stop()
	for ctx.Err() == nil {
		m.mu.Lock()
		holder, changed := m.held[c.Instance], m.changed
		m.mu.Unlock()
		ok, why := c.Able.State()
		switch {
		case !ok && holder == m.name:
			m.change(func() { delete(m.held, c.Instance) })
			continue
		case !ok:
			c.Changed(election.Status{Instance: c.Instance, State: vrrp.Fault, Reason: why})
		case m.lost && c.Alone:
			m.own(ctx, c, able, holding, false)
			continue
		case holder == "" || holder == m.name:
			m.own(ctx, c, able, holding, true)
			continue
		default:
			c.Changed(election.Status{Instance: c.Instance, State: vrrp.Backup, Owner: holder})
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-able:
		}
	}
	return context.Cause(ctx)
}

func (m *member) own(ctx context.Context, c election.Campaign, able <-chan struct{}, holding func(context.Context, int64, owner.Grant) error, key bool) {
	if key {
		m.change(func() {
			if h := m.held[c.Instance]; h != "" && h != m.name {
				key = false
				return
			}
			m.held[c.Instance] = m.name
		})
		if !key {
			return
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.Changed(election.Status{Instance: c.Instance, State: vrrp.Master, Owner: m.name})
	done := make(chan error, 1)
	go func() { done <- holding(ctx, 1, grant{}) }()
	for {
		if ok, why := c.Able.State(); !ok {
			cancel(&election.UnableError{Reason: why})
		}
		select {
		case err := <-done:
			if ctx.Err() == nil { // as an election does, it lets others try first
				c.Changed(election.Status{Instance: c.Instance, State: vrrp.Fault, Reason: err.Error()})
				defer func() { <-time.After(2 * time.Second) }()
			}
			if key && !errors.Is(context.Cause(ctx), election.ErrLeave) {
				m.change(func() { delete(m.held, c.Instance) })
			}
			return
		case <-able:
		}
	}
}

// grant is a permission that stands.
type grant struct{}

func (grant) Check() error   { return nil }
func (grant) End() time.Time { return time.Now().Add(4 * time.Second) }

// The methods of the interface.

func (m *member) Manage(all []netip.Prefix) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.manage = nil
	var errs []error
	for _, p := range all {
		if m.refuse[p.Addr()] {
			errs = append(errs, unmanaged{p})
			continue
		}
		m.manage = append(m.manage, p)
	}
	return errors.Join(errs...)
}

// unmanaged is the error about an address.
type unmanaged struct{ netip.Prefix }

func (u unmanaged) Unmanaged() netip.Prefix { return u.Prefix }
func (u unmanaged) Error() string {
	return fmt.Sprintf("manage %v: net.ipv4.conf.eth0.promote_secondaries is 0", u.Prefix)
}

func (m *member) Bind(ctx context.Context, addrs []netip.Prefix, bound func()) error {
	m.mu.Lock()
	for _, p := range addrs {
		if !slices.Contains(m.manage, p) {
			m.mu.Unlock()
			return fmt.Errorf("bind %v: it is not among the managed addresses", p)
		}
		if m.unbindable[p.Addr()] {
			m.mu.Unlock()
			return fmt.Errorf("bind %v: permission denied", p)
		}
		if other := m.bound[p.Addr()]; other != "" {
			m.twice = append(m.twice, fmt.Sprintf("%v on %s and %s", p, other, m.name))
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

func (m *member) Announce() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.announced++
}

// host is a member with its pool.
type host struct {
	*member
	o     pool.Options
	pool  *pool.Pool
	board *status.Board
	logs  *observer.ObservedLogs
	stop  func(cause error)
}

// start starts a host. It is stopped at the end of the test, if not before.
func (e *etcd) start(name string, set func(*pool.Options)) *host {
	e.t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	h := &host{member: &member{etcd: e, name: name}, logs: logs}
	h.Set(true, "")
	j := journal.New(zap.New(core))
	h.board = status.NewBoard(e.t.TempDir(), status.Instance{Mode: "elect"}, j)
	h.o = pool.Options{Instance: "pool", Name: name, Weight: 1, Member: h.member, Decider: h.member, Interface: h.member, Status: h.board, Journal: j,
		Addresses: func(r []refresher.Report) (list []status.Address) {
			for _, a := range r {
				list = append(list, status.Address{Address: a.Address, Owner: a.Owner})
			}
			return list
		}}
	if set != nil {
		set(&h.o)
	}
	p := pool.New(h.o)
	h.pool = p
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	p.Prepare()
	go func() { done <- p.Run(ctx) }()
	h.stop = func(cause error) {
		if ctx.Err() == nil {
			cancel(cause)
			if err := <-done; err != cause {
				e.t.Errorf("%s: want the cause %v, got %v", name, cause, err)
			}
		}
	}
	return h
}

var errStop = errors.New("stopped")

func (h *host) status() status.Instance {
	all := h.board.Snapshot()
	if len(all) != 1 || all[0].Instance != "pool" {
		h.t.Fatalf("want one instance named pool, got %+v", all)
	}
	return all[0]
}

// lines returns the messages of a kind that were logged.
func (h *host) lines(code string) []string {
	var all []string
	for _, e := range h.logs.FilterField(zap.String("code", code)).All() {
		text := e.Message
		for _, key := range []string{"key", "address", "reason", "error"} {
			if v, ok := e.ContextMap()[key]; ok {
				text += fmt.Sprintf("; %s: %v", key, v)
			}
		}
		all = append(all, text)
	}
	return all
}

// check fails the test if two hosts had an address at once.
func (e *etcd) check() {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.twice) > 0 {
		e.t.Errorf("two hosts had an address at once: %q", e.twice)
	}
}
