package pool

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"berth/ips"
	"berth/vrrp"
)

// Keys changes the list of a pool in etcd. It is a *Client.
type Keys interface {
	// AddNew puts an address into the list; added is false if it is there, however it is
	// written.
	AddNew(ctx context.Context, ip vrrp.FloatingIP) (added bool, err error)
	// Remove takes addresses out of the list; the error is ErrAbsent if one is not there.
	Remove(ctx context.Context, texts []string) ([]Change, error)
}

// IPs are the addresses of a pool, as one of its members has them. To add an address here,
// with the commands of the pool or with etcdctl is the same act.
//
// A member of a pool has what is assigned to it. So an address has no health checks of its
// own and no hand-over of its own; a request for one of them is refused, with what does
// the same for the member.
type IPs struct {
	pool *Pool
	keys Keys
}

// NewIPs returns the addresses of a pool. The pool must run while its addresses are
// changed.
func NewIPs(p *Pool, k Keys) *IPs { return &IPs{p, k} }

// List is that of ips.Service.
func (s *IPs) List() []ips.Address {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	all := make([]ips.Address, 0, len(s.pool.views.list))
	for _, ip := range s.pool.views.list {
		all = append(all, s.pool.views.views[ip.Addr()].address())
	}
	return all
}

func (v view) address() ips.Address {
	return ips.Address{ID: ips.ID(v.ip.Addr()), IP: v.ip.String(), Status: v.state, Owner: v.owner, Since: v.since, Reason: v.reason, LastEvent: v.last}
}

// Get is that of ips.Service.
func (s *IPs) Get(id string) (ips.Address, error) {
	a, err := ips.ParseID(id)
	if err != nil {
		return ips.Address{}, err
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	v, there := s.pool.views.views[a]
	if !there {
		return ips.Address{}, ips.ErrUnknown
	}
	return v.address(), nil
}

var (
	errChecks = &ips.ConflictError{Text: "the addresses of a pool have no health checks and intervals of their own; " +
		"write the checks to pool.health in the configuration of each member, and the interval of the lease to etcd.lease-ttl"}
	errMove = &ips.ConflictError{Text: "the pool assigns its addresses to its members, evenly; " +
		"berth pool drain MEMBER has a member give all its addresses to the others, and a member with another pool.weight has more or fewer"}
	errStands = &ips.ConflictError{Text: "etcd has lost the list of the pool, and its members serve the last one; " +
		"put all of its addresses back at once, with berth pool add ADDRESS..., before you change one"}
)

// Add is that of ips.Service. An address that no member is able to serve is added too.
func (s *IPs) Add(ctx context.Context, spec ips.Spec) (ips.Address, error) {
	ip, err := spec.Parse()
	if err != nil {
		return ips.Address{}, err
	}
	if len(spec.Checks) > 0 || spec.KeepaliveInterval != 0 || spec.HealthcheckInterval != 0 {
		return ips.Address{}, errChecks
	}
	if s.stands() {
		return ips.Address{}, errStands
	}
	added, err := s.keys.AddNew(ctx, ip)
	if err != nil {
		return ips.Address{}, fmt.Errorf("add %s: %w", key(ip), err)
	}
	if !added {
		return ips.Address{}, ips.ErrAssigned
	}
	var now view
	err = s.pool.await(ctx, func() (there bool) {
		now, there = s.pool.views.views[ip.Addr()]
		return there
	})
	return now.address(), err
}

// stands reports whether etcd has lost the list: then a change of it would make a list of
// the changed address alone.
func (s *IPs) stands() bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.pool.views.stands
}

// Remove is that of ips.Service.
func (s *IPs) Remove(ctx context.Context, id string) error {
	a, err := ips.ParseID(id)
	if err != nil {
		return err
	}
	if s.stands() {
		return errStands
	}
	switch _, err := s.keys.Remove(ctx, []string{a.String()}); {
	case errors.Is(err, ErrAbsent):
		return ips.ErrUnknown
	case err != nil:
		return fmt.Errorf("remove %v: %w", a, err)
	}
	return s.pool.await(ctx, func() bool { return s.pool.without(a) })
}

// without reports whether an address is neither listed nor had by this member. It is
// called with the lock held.
func (p *Pool) without(a netip.Addr) bool {
	_, listed := p.views.views[a]
	c := p.campaigns[a]
	return !listed && !p.views.own[a] && (c == nil || c.status.State != vrrp.Master)
}

// Update is that of ips.Service. A change that leaves an address without checks and
// intervals of its own changes nothing.
func (s *IPs) Update(_ context.Context, id string, c ips.Change) (ips.Address, error) {
	a, err := s.Get(id)
	if err != nil {
		return ips.Address{}, err
	}
	if err := c.Valid(); err != nil {
		return ips.Address{}, err
	}
	sets := func(seconds *int) bool { return seconds != nil && *seconds != 0 }
	if c.Checks != nil && len(*c.Checks) > 0 || sets(c.KeepaliveInterval) || sets(c.HealthcheckInterval) {
		return ips.Address{}, errChecks
	}
	return a, nil
}

// Lock is that of ips.Service. The member to which the pool assigns an address has it, and
// no other can have it instead.
func (s *IPs) Lock(_ context.Context, id string) error {
	_, err := s.Get(id)
	return err
}

// Failover is that of ips.Service.
func (s *IPs) Failover(_ context.Context, id string) error {
	if _, err := s.Get(id); err != nil {
		return err
	}
	return errMove
}
