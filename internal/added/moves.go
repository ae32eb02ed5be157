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

// standing is what a request about the owner of an address is decided by.
type standing struct {
	here      bool   // this member is the owner
	bound     bool   // and has bound the address
	other     string // the member that has it
	able      bool   // this member could have it
	why       string // why it could not
	status    election.Status
	retrying  bool // it waits before it tries again, although it could try now
	listed    bool
	takenFrom string // the place in the configuration that has it
}

func (s *Set) standing(a netip.Addr) (st standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stands(a)
}

// stands is standing. It is called with the lock held.
func (s *Set) stands(a netip.Addr) (st standing) {
	_, st.listed = s.book.list[a]
	st.takenFrom = s.Taken[a]
	ad := s.all[a]
	if ad == nil {
		st.why = "the address is not served yet"
		return st
	}
	st.here = ad.machine.status.State == vrrp.Master // as the set has acted on it
	if name, other, known := s.Decider.Owner(a.String()); known && other && !st.here {
		st.other = name
	}
	st.able, st.why, st.status, st.bound = ad.verdict == good, ad.reason, ad.status, ad.bound
	st.retrying = st.able && ad.status.State == vrrp.Fault && !ad.unable && ad.end != nil && !ad.ended
	return st
}

// find returns the address of an id, and its standing.
func (s *Set) find(id string) (a netip.Addr, st standing, err error) {
	if a, err = ips.ParseID(id); err != nil {
		return a, st, err
	}
	st = s.standing(a)
	switch {
	case !st.listed:
		err = unknown(a)
	case st.takenFrom != "":
		err = &ips.ConflictError{Text: fmt.Sprintf("%v stands in %s of this host's configuration, and is not served as an added address; remove it here or there", a, st.takenFrom)}
	}
	return a, st, err
}

// lockTime is how long Lock waits for the address: an election of a free address takes
// some milliseconds.
const lockTime = time.Second

// Lock is that of ips.Service. A campaign that waits after a failure, so that other members
// are elected meanwhile, begins anew; what a member waits for because a former owner may
// still have the address is waited for.
func (s *Set) Lock(ctx context.Context, id string) error {
	a, st, err := s.find(id)
	if err != nil || st.here || st.other != "" || !st.able {
		return err
	}
	if !s.Member.Acknowledged() {
		return fmt.Errorf("lock %v: %w", a, election.ErrNoAnswer)
	}
	if st.retrying {
		s.change(func() {
			if ad := s.all[a]; ad != nil && ad.end != nil {
				ad.stop(errAnew)
			}
		})
	}
	waiting, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	_ = s.await(waiting, func() bool { // it says nothing else than ctx
		st := s.stands(a)
		return st.here || st.other != "" || !st.able
	})
	if ctx.Err() != nil {
		return fmt.Errorf("lock %v: %w", a, context.Cause(ctx))
	}
	return nil
}

// Failover is that of ips.Service.
func (s *Set) Failover(ctx context.Context, id string) error {
	a, st, err := s.find(id)
	if err != nil {
		return err
	}
	if !s.Member.Acknowledged() {
		return fmt.Errorf("move %v: %w", a, election.ErrNoAnswer)
	}
	ask := s.Takeover
	switch {
	case st.here:
		ask = s.Release
	case !st.able:
		return &ips.ConflictError{Text: fmt.Sprintf("this member cannot have %v now: %s", a, st.why)}
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	err = ask(ctx, a.String())
	if refused, is := errors.AsType[*election.RefusedError](err); is {
		return &ips.ConflictError{Text: refused.Reason}
	}
	failed := ""
	if err == nil {
		err = s.await(ctx, func() bool {
			now := s.stands(a)
			if !st.here && now.retrying && now.status != st.status {
				failed = now.status.Reason
			}
			return failed != "" || now.here != st.here && (st.here || now.bound)
		})
	}
	if failed != "" {
		return &ips.ConflictError{Text: fmt.Sprintf("this member was elected, and cannot have %v: %s", a, failed)}
	}
	if err != nil {
		return fmt.Errorf("move %v: %w", a, err)
	}
	return nil
}
