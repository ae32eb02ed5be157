package heartbeat_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"berth/election"
	"berth/internal/fence"
	"berth/internal/status"
	"berth/vrrp"
)

// etcd is a model of a lease in etcd and the one key that goes with it.
type etcd struct {
	delay time.Duration

	mu      sync.Mutex // guards all below
	cut     map[netip.Addr]bool
	holder  *term
	expires time.Time // of the lease of holder
}

// The times of the model: those of a real lease, in which the local end lies before etcd's.
const (
	leaseTTL    = 5 * time.Second
	leaseMargin = 500 * time.Millisecond
	leaseRenew  = time.Second
)

// member is a host as etcd knows it. A process has a lease of its own.
type member struct {
	etcd *etcd
	addr netip.Addr
	dice *dice
	act  *acting
}

// term is the time for which a member owns the key.
type term struct {
	mu  sync.Mutex // guards end
	end time.Time  // from the moment when the newest acknowledged renewal was sent
}

var errOverdue = errors.New("the lease was not acknowledged in time")

// Check is that of fence.Grant.
func (t *term) Check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Now().Before(t.end) {
		return nil
	}
	return errOverdue
}

// ask carries a question to etcd and the answer back, unless the way is cut.
func (m *member) ask(ctx context.Context, question func(now time.Time) bool) bool {
	for _, step := range []func() bool{func() bool { return question(time.Now()) }, func() bool { return true }} {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(m.dice.below(m.etcd.delay)):
		}
		m.etcd.mu.Lock()
		ok := !m.etcd.cut[m.addr] && step()
		m.etcd.mu.Unlock()
		if !ok {
			return false
		}
	}
	return true
}

// renew takes or renews the key for a term.
func (m *member) renew(ctx context.Context, t *term) {
	sent := time.Now()
	ok := m.ask(ctx, func(now time.Time) bool {
		e := m.etcd
		if e.holder != nil && e.holder != t && now.Before(e.expires) {
			return false
		}
		e.holder, e.expires = t, now.Add(leaseTTL)
		return true
	})
	if ok {
		t.mu.Lock()
		t.end = sent.Add(leaseTTL - leaseMargin)
		t.mu.Unlock()
	}
}

// Campaign is that of fence.Elections.
func (m *member) Campaign(ctx context.Context, c election.Campaign, own func(context.Context, fence.Grant) error) error {
	for ctx.Err() == nil {
		t := &term{}
		m.renew(ctx, t)
		if t.Check() == nil {
			m.serve(ctx, c, t, own)
		}
		c.Changed(election.Status{State: vrrp.Backup, Reason: "another member is the owner"})
		select {
		case <-ctx.Done():
		case <-time.After(leaseRenew):
		}
	}
	return context.Cause(ctx)
}

// serve calls own for one term. The key is given back after own has returned, but by no
// process that was killed.
func (m *member) serve(ctx context.Context, c election.Campaign, t *term, own func(context.Context, fence.Grant) error) {
	c.Changed(election.Status{State: vrrp.Master})
	owned, end := context.WithCancelCause(ctx)
	m.act.grant(m.addr, t)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for owned.Err() == nil {
			select {
			case <-owned.Done():
			case <-time.After(leaseRenew):
				asked, cancel := context.WithTimeout(owned, leaseRenew)
				m.renew(asked, t)
				cancel()
			}
			if t.Check() != nil {
				end(errOverdue)
			}
		}
	})
	_ = own(owned, t)
	end(nil)
	renewing.Wait()
	if !errors.Is(context.Cause(ctx), errKilled) {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseRenew)
		defer cancel()
		m.ask(last, func(time.Time) bool {
			if m.etcd.holder == t {
				m.etcd.holder = nil
			}
			return true
		})
	}
}

// acting notes which hosts act, and each moment at which two do.
type acting struct {
	mu     sync.Mutex // guards all below
	grants map[netip.Addr]*term
	now    map[netip.Addr]bool
	both   []string
}

func newActing() *acting {
	return &acting{grants: map[netip.Addr]*term{}, now: map[netip.Addr]bool{}}
}

func (a *acting) grant(host netip.Addr, t *term) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.grants[host] = t
}

func (a *acting) begin(host netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now[host] = true
	a.compare(host, "begins to act")
}

func (a *acting) write(host netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.compare(host, "writes")
}

func (a *acting) end(host netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now[host] = false
}

// compare is called with the lock held.
func (a *acting) compare(host netip.Addr, does string) {
	for other, acts := range a.now {
		if other != host && acts && a.grants[other].Check() == nil && a.grants[host].Check() == nil {
			a.both = append(a.both, fmt.Sprintf("%v %s while %v acts", host, does, other))
		}
	}
}

// silent is the status that nobody reads.
type silent struct{}

func (silent) Ownership(string, status.Ownership) {}
