package bench

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"berth/internal/testnet"
)

// spread is which hosts have the addresses of a pool, as their kernels tell.
type spread struct {
	mu      sync.Mutex
	listed  map[netip.Addr]bool
	on      map[netip.Addr]map[*testnet.Node]bool
	count   map[*testnet.Node]int
	running map[*testnet.Node]bool
	apart   bool      // each address has an owner of its own, and they need not be spread evenly
	wrong   int       // addresses that are not where they should be: a listed one on one host
	since   time.Time // since when all is as it should be, zero while it is not

	none, two map[netip.Addr]time.Time // since when a listed address is on no host, or on two
	longest0  time.Duration
	longest2  time.Duration

	lost bool // events of the kernel
}

func newSpread(apart bool) *spread {
	return &spread{apart: apart, listed: map[netip.Addr]bool{}, on: map[netip.Addr]map[*testnet.Node]bool{}, count: map[*testnet.Node]int{},
		running: map[*testnet.Node]bool{}, none: map[netip.Addr]time.Time{}, two: map[netip.Addr]time.Time{}}
}

// right reports whether an address is where it should be.
func (s *spread) right(a netip.Addr) bool {
	if s.listed[a] {
		return len(s.on[a]) == 1
	}
	return len(s.on[a]) == 0
}

// change changes what is known of an address.
func (s *spread) change(a netip.Addr, at time.Time, change func()) {
	before := s.right(a)
	change()
	switch after := s.right(a); {
	case before && !after:
		s.wrong++
	case !before && after:
		s.wrong--
	}
	lasts := func(since map[netip.Addr]time.Time, holds bool, longest *time.Duration) {
		begun, held := since[a]
		switch {
		case holds && !held:
			since[a] = at
		case !holds && held:
			*longest = max(*longest, at.Sub(begun))
			delete(since, a)
		}
	}
	lasts(s.none, s.listed[a] && len(s.on[a]) == 0, &s.longest0)
	lasts(s.two, len(s.on[a]) > 1, &s.longest2)
	s.assess(at)
}

// assess notes since when all is as it should be.
func (s *spread) assess(at time.Time) {
	least, most, left := 1<<30, 0, false
	for n, count := range s.count {
		left = left || count > 0 && !s.running[n]
	}
	for n := range s.running {
		least, most = min(least, s.count[n]), max(most, s.count[n])
	}
	if s.wrong > 0 || left || most > least+1 && !s.apart {
		s.since = time.Time{}
	} else if s.since.IsZero() {
		s.since = at
	}
}

// note takes an event of the kernel.
func (s *spread) note(e testnet.AddressEvent) {
	if e.Lost {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lost = true
		return
	}
	a := e.Address.Addr()
	if !netip.MustParsePrefix("10.99.0.0/16").Contains(a) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(a, e.Time, func() {
		if s.on[a] == nil {
			s.on[a] = map[*testnet.Node]bool{}
		}
		if e.Added && !s.on[a][e.Node] {
			s.count[e.Node]++
			s.on[a][e.Node] = true
		} else if !e.Added && s.on[a][e.Node] {
			s.count[e.Node]--
			delete(s.on[a], e.Node)
		}
	})
}

// list tells that addresses are about to be in the list, or not any more.
func (s *spread) list(addrs []netip.Addr, listed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, a := range addrs {
		s.change(a, now, func() { s.listed[a] = listed })
	}
}

// runs tells that a host is to have its part, or none.
func (s *spread) runs(n *testnet.Node, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.running[n] = true
	} else {
		delete(s.running, n)
	}
	s.assess(time.Now())
}

// begin begins the measurement of a change.
func (s *spread) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.longest0, s.longest2 = 0, 0
}

// longest returns for how long an address was on no host, and on two.
func (s *spread) longest() (none, two time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longest0, s.longest2
}

// good returns since when all is as it should be, and what is there, for people.
func (s *spread) good() (since time.Time, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var counts []int
	for n := range s.running {
		counts = append(counts, s.count[n])
	}
	if s.lost {
		return time.Time{}, "events of the kernel are lost"
	}
	return s.since, fmt.Sprintf("%d addresses are on no host or on two; the hosts have %v", s.wrong, counts)
}
