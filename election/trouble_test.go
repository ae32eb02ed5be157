package election_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/vrrp"
)

// ability is whether a host can own, as a test sets it.
type ability struct {
	mu      sync.Mutex
	able    bool
	changed chan struct{}
}

func newAbility(able bool) *ability { return &ability{able: able, changed: make(chan struct{})} }

func (a *ability) set(able bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.able = able
	close(a.changed)
	a.changed = make(chan struct{})
}

// of makes a campaign depend on it.
func (a *ability) of(_ *election.Member, c *election.Campaign) {
	c.Able = func() (bool, string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.able, "no carrier"
	}
	c.AbleChanged = func() <-chan struct{} {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.changed
	}
}

func TestAnAdoptedPlaceIsGivenUpWhileTheHostIsUnable(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, nil)
	s.next("a", "holds")
	lease := <-a.leased
	go a.stop(election.ErrLeave)
	s.next("a", "ends")
	s.next("a", "gone")
	a.stop(nil)
	able := newAbility(false)
	s.play("a", 0, func(m *election.Member, c *election.Campaign) {
		m.Adopt = lease
		able.of(m, c)
	})
	s.play("b", 0, nil)
	s.next("b", "holds")
}

// full makes etcd refuse what needs space, as when its database has reached its
// quota.
func (s *stage) full() {
	s.Helper()
	err := s.cluster.Call(s.Context(), "maintenance/alarm", map[string]any{"action": "ACTIVATE", "alarm": "NOSPACE"}, nil)
	if err != nil {
		s.Fatal(err)
	}
}

func TestAnEtcdWithoutSpaceKeepsNobodyFromHandingOver(t *testing.T) {
	s := newStage(t, 1)
	able := newAbility(true)
	s.play("a", 0, able.of)
	s.next("a", "holds")
	s.play("b", 0, nil).until(vrrp.Backup)
	s.full()
	able.set(false)
	s.next("a", "ends")
	s.next("a", "gone")
	s.next("b", "holds")
}

func TestWhoCannotQueueUpSaysWhy(t *testing.T) {
	s := newStage(t, 1)
	able := newAbility(true)
	a := s.play("a", 0, able.of)
	s.next("a", "holds")
	able.set(false)
	s.next("a", "ends")
	s.next("a", "gone")
	for a.until(vrrp.Fault).Reason != "no carrier" {
	}
	s.full()
	able.set(true)
	if st := a.until(vrrp.Fault); !strings.Contains(st.Reason, "space") {
		t.Errorf("want that etcd has no space, got %+v", st)
	}
}

func TestAPlaceWhoseGivingUpIsRefusedIsNotAskedForWithoutAPauseNorUsedAgain(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	able := newAbility(true)
	s.playWith(o, "a", 0, able.of)
	held := s.next("a", "holds")
	root := s.root()
	if _, err := root.UserRevokeRole(t.Context(), user, "root"); err != nil {
		t.Fatal(err)
	}
	able.set(false)
	s.next("a", "ends")
	s.next("a", "gone")
	able.set(true)
	before := s.calls("KV", "Txn")
	s.quiet(2 * time.Second)
	if n := s.calls("KV", "Txn") - before; n > 15 {
		t.Errorf("want few attempts in 2 s, got %d", n)
	}
	// A request to give it up may still be under way.
	if _, err := root.UserGrantRole(t.Context(), user, "root"); err != nil {
		t.Fatal(err)
	}
	if again := s.next("a", "holds"); again.Token <= held.Token {
		t.Errorf("want a token after %d, got %d", held.Token, again.Token)
	}
}

func TestWhoGivesUpWaitingPassesTheWaitOn(t *testing.T) {
	const long = 8 * time.Second
	for _, late := range []bool{false, true} {
		t.Run(map[bool]string{false: "to one who saw the key vanish", true: "to one who came later"}[late], func(t *testing.T) {
			s := newStage(t, 1)
			c := s.etcd()
			lease := s.leftBy("former", c, long)
			able := newAbility(true)
			s.play("b", 0, able.of).until(vrrp.Backup)
			if !late {
				s.play("c", 0, nil).until(vrrp.Backup)
			}
			s.quiet(time.Second) // for a look at the lease
			revoked := time.Now()
			if _, err := c.Revoke(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
			if late {
				s.play("c", 0, nil).until(vrrp.Backup)
			}
			s.quiet(time.Second)
			able.set(false)
			e := s.next("c", "holds")
			least := long
			if late {
				least = ttl // from when b gave up: all that c can know of
			}
			if took := e.at.Sub(revoked); took < least-100*time.Millisecond {
				t.Errorf("want c to wait %v like b, it took %v", least, took)
			}
		})
	}
}

func TestAPlaceInWhichOneWaitedIsNotLeftToASuccessor(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	lease := s.leftBy("former", c, 8*time.Second)
	b := s.play("b", 0, nil)
	b.until(vrrp.Backup)
	s.play("c", 0, nil).until(vrrp.Backup)
	s.quiet(time.Second)
	if _, err := c.Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	s.quiet(500 * time.Millisecond)
	b.stop(election.ErrLeave)
	s.play("b", 0, func(m *election.Member, _ *election.Campaign) { m.Adopt = <-b.leased })
	if took := s.next("c", "holds").at.Sub(revoked); took < 7900*time.Millisecond {
		t.Errorf("want c, which knows of the wait, to wait, it took %v", took)
	}
}

// The end of an ownership is told at once, and not only when etcd has confirmed it.
func TestTheEndOfAnOwnershipIsToldWhileEtcdIsSilent(t *testing.T) {
	const long = 15 * time.Second
	s := newStage(t, 1)
	able := newAbility(true)
	a := s.play("a", 0, func(m *election.Member, c *election.Campaign) {
		m.TTL = long
		able.of(m, c)
	})
	s.next("a", "holds")
	s.cluster.Member(0).Hang()
	able.set(false)
	lost := time.Now()
	a.until(vrrp.Fault)
	if took := time.Since(lost); took > long/3 {
		t.Errorf("want it told at once, it took %v", took)
	}
}
