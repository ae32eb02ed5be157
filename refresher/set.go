package refresher

import (
	"context"
	"errors"
	"sync"

	"berth/vrrp"
)

// ErrUnlisted is the cause with which a loop ends whose address is no longer
// wanted.
var ErrUnlisted = errors.New("address is no longer wanted")

// Set runs one loop for each address of a holding. Loops do not wait for each
// other: one bad address never delays another.
type Set struct {
	// Loop makes the loop of an address; Set fills in Verify and Report.
	Loop func(vrrp.FloatingIP) *Loop
	// Changed, which may be nil, gets a copy of all reports after each attempt
	// and each change of the set. Calls do not overlap; it must not block.
	Changed func([]Report)

	mu      sync.Mutex
	order   []vrrp.FloatingIP
	members map[vrrp.FloatingIP]*member
}

type member struct {
	cancel context.CancelCauseFunc
	verify chan struct{}
	done   chan struct{}
	report Report
}

// Want makes the set be exactly these addresses: it starts the loops that are
// missing, ends those of addresses that are not wanted any more and waits for their
// end, and does not touch the others. Loops live until ctx ends; after that, call
// Wait.
func (s *Set) Want(ctx context.Context, wanted []vrrp.FloatingIP) {
	s.mu.Lock()
	former := s.members
	s.order, s.members = nil, map[vrrp.FloatingIP]*member{}
	for _, ip := range wanted {
		if s.members[ip] != nil {
			continue
		}
		m, ok := former[ip]
		if !ok {
			m = s.start(ctx, ip)
		}
		delete(former, ip)
		s.members[ip] = m
		s.order = append(s.order, ip)
	}
	s.publish()
	s.mu.Unlock()
	for _, m := range former {
		m.cancel(ErrUnlisted)
	}
	for _, m := range former {
		<-m.done
	}
}

// Wait returns after the last loop has ended.
func (s *Set) Wait() {
	s.mu.Lock()
	members := s.members
	s.mu.Unlock()
	for _, m := range members {
		<-m.done
	}
}

// VerifyNow asks every loop to observe the owner soon. It never blocks.
func (s *Set) VerifyNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		select {
		case m.verify <- struct{}{}:
		default: // asked for already
		}
	}
}

func (s *Set) start(ctx context.Context, ip vrrp.FloatingIP) *member {
	ctx, cancel := context.WithCancelCause(ctx)
	m := &member{cancel: cancel, verify: make(chan struct{}, 1), done: make(chan struct{}), report: Report{Address: ip.String()}}
	l := s.Loop(ip)
	l.Verify = m.verify
	l.Report = func(r Report) {
		s.mu.Lock()
		defer s.mu.Unlock()
		r.Address = ip.String()
		m.report = r
		s.publish()
	}
	go func() {
		defer close(m.done)
		defer cancel(nil)
		// A loop returns nothing but the end of its context.
		_ = l.Run(ctx)
		l.Target.Close()
	}()
	return m
}

// publish is called with the lock held.
func (s *Set) publish() {
	if s.Changed == nil {
		return
	}
	reports := make([]Report, 0, len(s.order))
	for _, ip := range s.order {
		if m := s.members[ip]; m != nil {
			reports = append(reports, m.report)
		}
	}
	s.Changed(reports)
}
