package election_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/election"
	"berth/vrrp"
)

func TestAnAdoptedKeyIsGivenUpWhileTheHostIsUnable(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, nil)
	s.next("a", "holds")
	lease := <-a.leased
	go a.stop(election.ErrLeave)
	s.next("a", "ends")
	s.next("a", "gone")
	a.stop(nil)
	_, depending := ability(false)
	s.play("a", 0, func(m *election.Member, c *election.Campaign) {
		m.Adopt = lease
		depending(m, c)
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

func TestAMemberHandsOverThoughEtcdHasNoSpace(t *testing.T) {
	s := newStage(t, 1)
	able, depending := ability(true)
	s.play("a", 0, depending)
	s.next("a", "holds")
	s.play("b", 0, nil).until(vrrp.Backup)
	s.full()
	able.Set(false, noCarrier)
	s.next("a", "ends")
	s.next("a", "gone")
	s.next("b", "holds")
}

func TestAMemberThatCannotQueueUpTellsWhy(t *testing.T) {
	s := newStage(t, 1)
	able, depending := ability(true)
	a := s.play("a", 0, depending)
	s.next("a", "holds")
	able.Set(false, noCarrier)
	s.next("a", "ends")
	s.next("a", "gone")
	for a.until(vrrp.Fault).Reason != noCarrier {
	}
	s.full()
	able.Set(true, noCarrier)
	if st := a.until(vrrp.Fault); !strings.Contains(st.Reason, "space") {
		t.Errorf("want that etcd has no space, got %+v", st)
	}
}

func TestAKeyThatEtcdRefusesToDeleteIsNotAskedForWithoutAPauseNorUsedAgain(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	able, depending := ability(true)
	s.playWith(o, "a", 0, depending)
	held := s.next("a", "holds")
	root := s.root()
	if _, err := root.UserRevokeRole(t.Context(), user, "root"); err != nil {
		t.Fatal(err)
	}
	able.Set(false, noCarrier)
	s.next("a", "ends")
	s.next("a", "gone")
	able.Set(true, noCarrier)
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

func TestAMemberThatGivesUpWaitingPassesTheWaitOn(t *testing.T) {
	t.Parallel() // or the tests after this one would wait for its rows
	const long = 8 * time.Second
	for _, late := range []bool{false, true} {
		t.Run(map[bool]string{false: "to a member that saw the key vanish", true: "to a member that came later"}[late], func(t *testing.T) {
			s := newStage(t, 1)
			c := s.etcd()
			lease := s.leftBy("former", c, long)
			able, depending := ability(true)
			s.play("b", 0, depending).until(vrrp.Backup)
			if !late {
				s.play("c", 0, nil).until(vrrp.Backup)
			}
			s.quiet(time.Second) // so that the lease is sampled
			revoked := time.Now()
			if _, err := c.Revoke(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
			if late {
				s.play("c", 0, nil).until(vrrp.Backup)
			}
			s.quiet(time.Second)
			able.Set(false, noCarrier)
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

func TestAKeyWithWhichAMemberWaitedIsNotLeftToASuccessor(t *testing.T) {
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
	able, depending := ability(true)
	a := s.play("a", 0, func(m *election.Member, c *election.Campaign) {
		m.TTL = long
		depending(m, c)
	})
	s.next("a", "holds")
	s.cluster.Member(0).Hang()
	able.Set(false, noCarrier)
	lost := time.Now()
	a.until(vrrp.Fault)
	if took := time.Since(lost); took > long/3 {
		t.Errorf("want it told at once, it took %v", took)
	}
}

// An address of a pool is retracted while etcd hangs for a moment: the campaign ends, and
// the process goes on.
func TestAKeyThatIsLeftWhenItsCampaignEndsIsGivenUpLater(t *testing.T) {
	s := newStage(t, 1)
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &election.Member{Etcd: etcd, Prefix: prefix, PoolPrefix: poolPrefix, Name: "a", TTL: 3 * ttl}
	m.Init()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			one, end := context.WithCancelCause(ctx)
			_ = m.Campaign(one, election.Campaign{Pool: true, Instance: slot}, func(ctx context.Context, _ election.Grant) error {
				s.cluster.Member(0).Cut()
				end(errors.New("retracted"))
				return nil
			})
			s.events <- event{player: "a", what: "ended"}
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	defer func() { cancel(errors.New("test ends")); <-done }()
	s.next("a", "ended")
	if err := s.cluster.Member(0).Heal(); err != nil {
		t.Fatal(err)
	}
	s.play("b", 0, pooled)
	healed := time.Now()
	if took := s.next("b", "holds").at.Sub(healed); took > ttl {
		t.Errorf("want b to hold soon, it took %v", took)
	}
}

// A request to delete the key may still come through, and would end what the new campaign
// of the same process owns.
func TestAKeyThatIsLeftIsNotUsedByTheNextCampaign(t *testing.T) {
	s := newStage(t, 1)
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &election.Member{Etcd: etcd, Prefix: prefix, PoolPrefix: poolPrefix, Name: "a", TTL: 3 * ttl}
	m.Init()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			one, end := context.WithCancelCause(ctx)
			_ = m.Campaign(one, election.Campaign{Pool: true, Instance: slot}, func(ctx context.Context, g election.Grant) error {
				s.cluster.Member(0).Cut()
				end(errors.New("retracted"))
				s.events <- event{player: "a", what: "holds", Grant: g}
				return nil
			})
			s.events <- event{player: "a", what: "ended"}
			return m.Campaign(ctx, election.Campaign{Pool: true, Instance: slot}, func(ctx context.Context, g election.Grant) error {
				s.events <- event{player: "a", what: "holds", Grant: g}
				<-ctx.Done()
				return context.Cause(ctx)
			})
		})
	}()
	defer func() { cancel(errors.New("test ends")); <-done }()
	first := s.next("a", "holds")
	s.next("a", "ended")
	if err := s.cluster.Member(0).Heal(); err != nil {
		t.Fatal(err)
	}
	if second := s.next("a", "holds"); second.Token <= first.Token {
		t.Errorf("want a token after %d, got %d", first.Token, second.Token)
	}
}
