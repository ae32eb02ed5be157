package election_test

import (
	"errors"
	"testing"
	"time"

	"berth/election"
	"berth/internal/journal"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestAnOwnerCutOffFromEtcdEndsBeforeItsLease(t *testing.T) {
	s := newStage(t, 1)
	s.play("a", 0, nil)
	held := s.next("a", "holds")
	end := held.End()
	s.cluster.Member(0).Hang()
	cut := time.Now()
	ended := s.next("a", "ends")
	if !errors.Is(ended.why, election.ErrOverdue) {
		t.Errorf("want it overdue, got %v", ended.why)
	}
	// The last renewal was sent before the cut, and its answer not later.
	if latest := cut.Add(ttl - 400*time.Millisecond); ended.at.After(latest) {
		t.Errorf("want the end before %v, got %v", latest, ended.at)
	}
	if ended.at.Before(end.Add(-600 * time.Millisecond)) {
		t.Errorf("want the end not long before that of the lease, %v, got %v", end, ended.at)
	}
	if held.Check() == nil {
		t.Error("want the permission to be gone")
	}
	s.next("a", "gone")
	// The lease was not lost in etcd, so no other member can have come in between.
	if err := s.cluster.Member(0).Heal(); err != nil {
		t.Fatal(err)
	}
	if again := s.next("a", "holds"); again.Token != held.Token {
		t.Logf("another token after the heal: %d, was %d (the lease had expired)", again.Token, held.Token)
	}
}

func TestRetainGoesOnWithoutEtcdUntilEtcdSaysThatTheLeaseIsGone(t *testing.T) {
	s := newStage(t, 1)
	joined := make(chan struct{}, 10)
	a := s.play("a", 0, func(m *election.Member, c *election.Campaign) {
		m.Retain, c.Joined = true, func() { joined <- struct{}{} }
	})
	held := s.next("a", "holds")
	lease := <-a.leased
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-s.events:
		t.Fatalf("want it to keep what it has, got %s: %v", e.what, e.why)
	case <-time.After(ttl + time.Second):
	}
	if err := held.Check(); err != nil {
		t.Errorf("want the permission to stand, got %v", err)
	}
	if left := time.Until(held.End()); left < ttl/2 {
		t.Errorf("want the end to move on, got %v left", left)
	}
	if n := len(joined); n != 0 {
		t.Errorf("want the owner to be told of nobody meanwhile, it was %d times", n)
	}
	for _, want := range []election.Status{{Retained: false, Reason: "elected"}, {Retained: true, Reason: "etcd does not acknowledge the lease; going on without it"}} {
		if st := a.until(vrrp.Master); st.Retained != want.Retained || st.Reason != want.Reason || st.Token != held.Token {
			t.Errorf("want it told that the lease is acknowledged: %t, got %+v", !want.Retained, st)
		}
	}
	if err := s.cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	if st := a.until(vrrp.Master); st.Retained || st.Reason != "elected" {
		t.Errorf("want it told that the lease is acknowledged again, got %+v", st)
	}
	select { // others may have been owners meanwhile
	case <-joined:
	case <-time.After(limit):
		t.Error("want the owner to be told when etcd acknowledges its lease again")
	}
	if err := s.cluster.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.etcd().Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	if e := s.next("a", "ends"); !errors.Is(e.why, election.ErrLeaseLost) && !errors.Is(e.why, election.ErrKeyLost) {
		t.Errorf("want the lease lost, got %v", e.why)
	}
	s.next("a", "gone")
	s.next("a", "holds")
}

func TestRetainEndsWhenEtcdRefuses(t *testing.T) {
	s, o := newGuardedStage(t, 3)
	for _, i := range []int{1, 2} { // no token of theirs
		s.cluster.Member(i).Hang()
	}
	s.playWith(o, "a", 0, func(m *election.Member, _ *election.Campaign) { m.Retain = true })
	s.next("a", "holds")
	root, err := clientv3.New(clientv3.Config{Endpoints: o.Endpoints[:1], Username: "root", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := root.UserChangePassword(t.Context(), user, "another"); err != nil {
		t.Fatal(err)
	}
	s.cluster.Member(0).Hang()
	if err := s.cluster.Member(1).Heal(); err != nil {
		t.Fatal(err)
	}
	// An etcd that answers can elect other members.
	if e := s.next("a", "ends"); !errors.Is(e.why, election.ErrOverdue) {
		t.Errorf("want it overdue, got %v", e.why)
	}
}

func TestARevokedLeaseMakesTheNextOwnerWait(t *testing.T) {
	s := newStage(t, 3)
	a := s.play("a", 0, nil)
	s.next("a", "holds")
	b := s.play("b", 0, nil)
	b.until(vrrp.Backup)
	lease := <-a.leased
	revoked := time.Now()
	if _, err := s.etcd().Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	if e := s.next("a", "ends"); e.at.Sub(revoked) > silent/2 {
		t.Errorf("want a to notice at once, it took %v", e.at.Sub(revoked))
	}
	s.next("a", "gone")
	e := s.next("b", "holds")
	if took := e.at.Sub(revoked); took < ttl-100*time.Millisecond || took > ttl+time.Second {
		t.Errorf("want b to wait about %v, it took %v", ttl, took)
	}
}

func TestAfterAnExpiredLeaseTheNextOwnerDoesNotWait(t *testing.T) {
	s := newStage(t, 3)
	s.leftBy("dead", s.etcd(), 3*time.Second)
	begun := time.Now()
	b := s.play("b", 0, nil)
	if st := b.until(vrrp.Backup); st.Owner != "dead" {
		t.Errorf("want the dead member as owner, got %+v", st)
	}
	// etcd looks every half a second for leases to end.
	if took := s.next("b", "holds").at.Sub(begun); took > 5500*time.Millisecond {
		t.Errorf("want b to own as soon as the lease is gone, it took %v", took)
	}
}

func TestASuccessorAdoptsLeaseAndPlace(t *testing.T) {
	s := newStage(t, 3)
	a := s.play("a", 0, nil)
	held := s.next("a", "holds")
	s.play("b", 0, nil).until(vrrp.Backup)
	lease := <-a.leased
	go a.stop(election.ErrLeave)
	s.next("a", "ends")
	s.next("a", "gone")
	a.stop(nil)
	core, said := observer.New(zap.WarnLevel)
	successor := s.play("a", 0, func(m *election.Member, _ *election.Campaign) {
		m.Adopt, m.TTL, m.Journal = lease, ttl+time.Second, journal.New(zap.New(core))
	})
	if again := s.next("a", "holds"); again.Token != held.Token {
		t.Errorf("want the same token %d, got %d", held.Token, again.Token)
	}
	if got := <-successor.leased; got != lease {
		t.Errorf("want lease %x, got %x", lease, got)
	}
	if n := said.FilterField(zap.Duration("configured", ttl+time.Second)).Len(); n != 1 {
		t.Errorf("want it to be said once that the lease is not as configured, got %d times", n)
	}
}

func TestAHungLeaderCostsNothing(t *testing.T) {
	s := newStage(t, 3)
	s.play("a", 0, nil)
	held := s.next("a", "holds")
	leader := s.cluster.Leader(t.Context())
	if err := leader.Pause(); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-s.events:
		t.Errorf("want nothing to happen, got that %s %s: %v", e.player, e.what, e.why)
	case <-time.After(3 * ttl):
	}
	if err := held.Check(); err != nil {
		t.Error(err)
	}
	if err := leader.Resume(); err != nil {
		t.Fatal(err)
	}
}

func TestAloneActsWithoutEtcdAndStopsWhenItAnswers(t *testing.T) {
	s := newStage(t, 1)
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s.play("a", 0, func(_ *election.Member, c *election.Campaign) { c.Alone = true })
	e := s.next("a", "holds")
	if took := e.at.Sub(begun); took < ttl || took > ttl+2*time.Second {
		t.Errorf("want it after %v, it took %v", ttl, took)
	}
	if err := e.Check(); err != nil || e.Token != 0 {
		t.Errorf("want permission without a token, got %d, %v", e.Token, err)
	}
	if err := s.cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	if e := s.next("a", "ends"); !errors.Is(e.why, election.ErrReachable) {
		t.Errorf("want the end because etcd answers, got %v", e.why)
	}
	s.next("a", "gone")
	if e := s.next("a", "holds"); e.Token == 0 {
		t.Error("want a token")
	}
}
