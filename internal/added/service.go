package added

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"berth/election"
	"berth/ips"
	"berth/vrrp"
)

// MaxAddresses is how many addresses a member takes from the service.
const MaxAddresses = 1000

// List is that of ips.Service.
func (s *Set) List() []ips.Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]ips.Address, 0, len(s.book.list))
	for _, a := range s.book.sorted() {
		all = append(all, s.show(a))
	}
	return all
}

// Get is that of ips.Service.
func (s *Set) Get(id string) (ips.Address, error) {
	a, err := ips.ParseID(id)
	if err != nil {
		return ips.Address{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, listed := s.book.list[a]; !listed {
		return ips.Address{}, unknown(a)
	}
	return s.show(a), nil
}

func unknown(a netip.Addr) error { return fmt.Errorf("find %v: %w", a, ips.ErrUnknown) }

// show returns what is known of an address of the list. It is called with the lock held.
func (s *Set) show(a netip.Addr) ips.Address {
	e := s.book.list[a]
	is := ips.Address{ID: ips.ID(a), IP: e.ip.String(), Checks: append([]ips.Check(nil), e.checks...),
		KeepaliveInterval: e.keepalive, HealthcheckInterval: e.healthcheck, Status: ips.Booting}
	if name, _, known := s.Decider.Owner(a.String()); known {
		is.Owner = name
	}
	ad := s.all[a]
	switch by := s.Taken[a]; {
	case by != "":
		is.Reason = "it stands in " + by + ", and is not served as an added address"
		return is
	case ad == nil:
		is.Reason = "waiting for etcd"
		return is
	}
	m := ad.machine
	is.Status, is.Since, is.LastEvent = m.state, m.since.UTC(), m.last
	switch {
	case ad.verdict != good:
		is.Reason = ad.reason
	case ad.unable: // the campaign has not acted on the end of that
	case m.state == ips.Booting && m.status.Reason == "":
		is.Reason = "waiting for etcd"
	default:
		is.Reason = m.status.Reason
	}
	if ad.machine.status.State == vrrp.Master {
		is.Owner = s.Name
	}
	return is
}

// within bounds a request.
func (s *Set) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, s.Timeout, election.ErrNoAnswer)
}

// await waits until done is true, which is called with the lock held after each change on
// which the set has acted, or returns the cause of the end of ctx.
func (s *Set) await(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		is, followed := done(), s.followed
		s.mu.Unlock()
		if is {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-followed:
		}
	}
}

// settled waits until etcd has told the list, and has all of it.
func (s *Set) settled(ctx context.Context) error {
	return s.await(ctx, func() bool { return s.known && !s.book.stands })
}

// has reports whether the set has acted on a revision. It is called with the lock held.
func (s *Set) has(revision int64) bool { return s.seen.Revision >= revision }

// Add is that of ips.Service.
func (s *Set) Add(ctx context.Context, spec ips.Spec) (ips.Address, error) {
	ip, err := spec.Parse()
	if err != nil {
		return ips.Address{}, err
	}
	a := ip.Addr()
	if by := s.Taken[a]; by != "" {
		return ips.Address{}, &ips.ConflictError{Text: fmt.Sprintf("%v stands in %s of this host's configuration; keep an address in one place", a, by)}
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	if err := s.settled(ctx); err != nil {
		return ips.Address{}, fmt.Errorf("add %v: %w", ip, err)
	}
	if err := s.begin(a); err != nil {
		return ips.Address{}, err
	}
	defer s.change(func() { s.adding-- })
	e := entry{ip: ip, checks: spec.Checks, keepalive: spec.KeepaliveInterval, healthcheck: spec.HealthcheckInterval, added: time.Now().UTC().Truncate(time.Second)}
	revision, done, err := s.Etcd.Swap(ctx, s.key(a.String()), 0, e.encode())
	if err == nil && !done {
		return ips.Address{}, fmt.Errorf("add %v: %w", ip, ips.ErrAssigned)
	}
	if err == nil {
		err = s.await(ctx, func() bool { return s.has(revision) })
	}
	if err != nil {
		return ips.Address{}, fmt.Errorf("add %v: %w", ip, err)
	}
	return s.Get(a.String())
}

// begin counts an address that is to be added, if it can be.
func (s *Set) begin(a netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, listed := s.book.list[a]; listed {
		return fmt.Errorf("add %v: %w", a, ips.ErrAssigned)
	}
	if len(s.book.list)+s.adding >= MaxAddresses {
		return &ips.ConflictError{Text: fmt.Sprintf("this member has %d addresses, and no member takes more; remove some, or add the address to another member", len(s.book.list))}
	}
	s.adding++
	return nil
}

// swapTries is how often a change is tried again because the key was changed meanwhile.
const swapTries = 5

var errBusy = errors.New("the address is changed again and again by others; try again")

// swap changes the key of an address of the list: next returns the value for what the list
// has, nil to delete the key. It returns after this member has acted on the change.
func (s *Set) swap(ctx context.Context, a netip.Addr, next func(entry) []byte) error {
	for range swapTries {
		if err := s.settled(ctx); err != nil {
			return err
		}
		s.mu.Lock()
		e, listed := s.book.list[a]
		s.mu.Unlock()
		if !listed {
			return ips.ErrUnknown
		}
		revision, done, err := s.Etcd.Swap(ctx, s.key(a.String()), e.revision, next(e))
		if err == nil && revision == 0 { // deleted, by this call or another; the watch will tell
			err = s.await(ctx, func() bool { return s.book.list[a].revision != e.revision })
		} else if err == nil {
			err = s.await(ctx, func() bool { return s.has(revision) })
		}
		if done || err != nil {
			return err
		}
	}
	return errBusy
}

// Remove is that of ips.Service.
func (s *Set) Remove(ctx context.Context, id string) error {
	a, err := ips.ParseID(id)
	if err != nil {
		return err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	if err = s.swap(ctx, a, func(entry) []byte { return nil }); err == nil {
		err = s.await(ctx, func() bool {
			_, again := s.book.list[a]
			return again || s.all[a] == nil
		})
	}
	if err != nil {
		return fmt.Errorf("remove %v: %w", a, err)
	}
	return nil
}

// Update is that of ips.Service.
func (s *Set) Update(ctx context.Context, id string, c ips.Change) (ips.Address, error) {
	a, err := ips.ParseID(id)
	if err == nil {
		err = c.Valid()
	}
	if err != nil {
		return ips.Address{}, err
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	err = s.swap(ctx, a, func(e entry) []byte {
		if c.Checks != nil {
			e.checks = *c.Checks
		}
		if c.KeepaliveInterval != nil {
			e.keepalive = *c.KeepaliveInterval
		}
		if c.HealthcheckInterval != nil {
			e.healthcheck = *c.HealthcheckInterval
		}
		return e.encode()
	})
	if err != nil {
		return ips.Address{}, fmt.Errorf("change %v: %w", a, err)
	}
	return s.Get(a.String())
}
