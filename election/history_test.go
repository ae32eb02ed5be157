package election_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/internal/journal"
	"berth/vrrp"
)

// broken is what is logged of a break of etcd's history.
const broken = "etcd was restored from a backup"

// logging has a player log to an observer.
func logging(level zapcore.Level) (func(*election.Member, *election.Campaign), *observer.ObservedLogs) {
	core, said := observer.New(level)
	return func(m *election.Member, _ *election.Campaign) { m.Journal = journal.New(zap.New(core)) }, said
}

// alone reads events until a player holds, and fails if another holds at that time.
// holding is the player that holds at the beginning.
func (s *stage) alone(holding string) event {
	s.Helper()
	for end := time.After(2 * limit); ; {
		select {
		case e := <-s.events:
			switch e.what {
			case "gone":
				if holding == e.player {
					holding = ""
				}
			case "holds":
				if holding != "" {
					s.Fatalf("two owners: %s, and %s still", e.player, holding)
				}
				return e
			}
		case <-end:
			s.Fatal("want an owner, got none")
		}
	}
}

// handedOver is a stage whose data was saved when a was the owner and b waited; then
// a has handed over to b.
func handedOver(t *testing.T, members int, change func(*election.Member, *election.Campaign)) (s *stage, a, b *player) {
	t.Helper()
	s = newStage(t, members)
	a = s.play("a", 0, change)
	s.next("a", "holds")
	b = s.play("b", 0, change)
	b.until(vrrp.Backup)
	if err := s.cluster.Save(); err != nil {
		t.Fatal(err)
	}
	s.takeover("a", "b")
	return s, a, b
}

// takeover has a member take over from another. On a busy machine it can lose what it
// has got before it knows.
func (s *stage) takeover(from, to string) {
	s.Helper()
	for owner, asker := from, s.asker(); owner != to; {
		if err := election.Takeover(s.Context(), asker, prefix, nil, instance, election.Asker{Member: to}); err != nil {
			s.Fatal(err)
		}
		owner = s.alone(owner).player
	}
}

// asker is the connection of a command that asks for a hand-over.
func (s *stage) asker() *election.Etcd {
	s.Helper()
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { etcd.Close() })
	return etcd
}

// inTime checks how long after a break the next owner came.
func inTime(t *testing.T, broke, held time.Time) {
	t.Helper()
	// The first member of etcd may have served a while before the last.
	if took := held.Sub(broke); took < ttl-100*time.Millisecond || took > 3*ttl {
		t.Errorf("want the next owner after %v, and not long after, it took %v", ttl, took)
	}
}

func TestAnEtcdRestoredWithinALeaseHasOneOwnerAfterTheLongestLease(t *testing.T) {
	change, said := logging(zap.ErrorLevel)
	s, _, _ := handedOver(t, 3, change)
	broke := time.Now()
	if err := s.cluster.Restore(); err != nil {
		t.Fatal(err)
	}
	inTime(t, broke, s.alone("b").at)
	if n := said.FilterMessageSnippet(broken).Len(); n != 2 {
		t.Errorf("want each member to say it once, got %d lines", n)
	}
}

// When the members hear of etcd again the revision is not lower than what they have seen.
func TestAnEtcdRestoredAndOvertakenIsNoticedByWhatItHasAtAnOldRevision(t *testing.T) {
	change, said := logging(zap.ErrorLevel)
	s, _, _ := handedOver(t, 1, change)
	s.cluster.Member(0).Cut()
	broke := time.Now()
	if err := s.cluster.Restore(); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		put := map[string][]byte{"key": fmt.Append(nil, "/other/", n), "value": []byte("x")}
		if err := s.cluster.Call(t.Context(), "kv/put", put, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.cluster.Member(0).Heal(); err != nil {
		t.Fatal(err)
	}
	inTime(t, broke, s.alone("b").at)
	if n := said.FilterMessageSnippet(broken).Len(); n != 2 {
		t.Errorf("want both members to notice, got %v", said.All())
	}
}

func TestAWipedEtcdHasOneOwnerAfterTheLongestLease(t *testing.T) {
	t.Parallel() // or the tests after this one would wait for its rows
	for name, token := range map[string]string{"the same cluster id": "berth-test", "another cluster id": "other"} {
		t.Run(name, func(t *testing.T) {
			change, said := logging(zap.ErrorLevel)
			s := newStage(t, 3)
			s.play("a", 0, change)
			s.next("a", "holds")
			s.play("b", 0, func(m *election.Member, c *election.Campaign) {
				change(m, c)
				m.TTL = ttl + 2*time.Second
			}).until(vrrp.Backup)
			s.takeover("a", "b")
			broke := time.Now()
			if err := s.cluster.Wipe(token); err != nil {
				t.Fatal(err)
			}
			// Not the time to live of a's own lease.
			if took := s.alone("b").at.Sub(broke); took < ttl+1900*time.Millisecond {
				t.Errorf("want the wait to be that of the longest lease, it took %v", took)
			}
			if n := said.FilterMessageSnippet(broken).Len(); n != 2 {
				t.Errorf("want each member to say it once, got %d lines: %v", n, said.All())
			}
		})
	}
}

func TestAnOwnerThatCameAfterTheBackupEndsWhenItIsPutBack(t *testing.T) {
	s := newStage(t, 1)
	if err := s.cluster.Save(); err != nil {
		t.Fatal(err)
	}
	s.play("a", 0, nil)
	s.next("a", "holds")
	s.play("b", 0, nil).until(vrrp.Backup)
	broke := time.Now()
	if err := s.cluster.Restore(); err != nil {
		t.Fatal(err)
	}
	inTime(t, broke, s.alone("a").at)
}

func TestARestartedMemberBesideARestoredEtcdAdoptsNothingAndWaits(t *testing.T) {
	var seen func() (election.Past, bool)
	s, _, b := handedOver(t, 1, func(m *election.Member, _ *election.Campaign) { seen = m.Seen })
	lease := <-b.leased
	go b.stop(election.ErrLeave)
	s.next("b", "ends")
	s.next("b", "gone")
	b.stop(nil)
	past, ok := seen()
	if !ok {
		t.Fatal("want something to be known of etcd's history")
	}
	s.cluster.Member(0).Cut() // so that no other member makes an end of b's old place
	if err := s.cluster.Restore(); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Member(0).Heal(); err != nil {
		t.Fatal(err)
	}
	broke := time.Now()
	successor := s.play("b", 0, func(m *election.Member, _ *election.Campaign) { m.Adopt, m.Past = lease, past })
	if got := <-successor.leased; got == lease {
		t.Error("want another lease than that of the former history")
	}
	inTime(t, broke, s.alone("").at)
}

// A proxy can lead to another cluster.
func TestAnEndpointOfAnotherClusterCountsForNothing(t *testing.T) {
	s := newStage(t, 3)
	other := start(t, 1, etcdtest.Options{})
	change, said := logging(zap.ErrorLevel)
	s.playWith(election.Options{Endpoints: append(s.cluster.Endpoints(), other.Endpoints()...)}, "a", 0, func(m *election.Member, c *election.Campaign) {
		change(m, c)
		m.TTL = 20 * time.Second
	})
	held := s.next("a", "holds")
	for _, m := range s.cluster.Members() {
		m.Hang()
	}
	s.quiet(5 * time.Second) // the other one is asked, which has no such lease
	for _, m := range s.cluster.Members() {
		if err := m.Heal(); err != nil {
			t.Fatal(err)
		}
	}
	told := func() int { return said.FilterMessageSnippet("some endpoints are those of another etcd cluster").Len() }
	for begun := time.Now(); told() == 0 && time.Since(begun) < limit; {
		s.quiet(100 * time.Millisecond)
	}
	s.quiet(2 * time.Second)
	if err := held.Check(); err != nil {
		t.Errorf("want the owner to stay, got %v", err)
	}
	if n := told(); n != 1 {
		t.Errorf("want it to be said once, got %v", said.All())
	}
}

// The other endpoint may be where the cluster goes on that was seen.
func TestAnotherClusterAtAFewEndpointsTakesItsPlaceAfterTheLongestLease(t *testing.T) {
	change, said := logging(zap.ErrorLevel)
	s := newStage(t, 1)
	s.playWith(election.Options{Endpoints: append(s.cluster.Endpoints(), "http://127.0.0.1:1")}, "a", 0, change)
	s.next("a", "holds")
	broke := time.Now()
	if err := s.cluster.Wipe("other"); err != nil {
		t.Fatal(err)
	}
	if took := s.alone("a").at.Sub(broke); took < 2*ttl-100*time.Millisecond {
		t.Errorf("want the known cluster awaited for a lease, and then its owners, it took %v", took)
	}
	if n := said.FilterMessageSnippet(broken).Len(); n != 1 {
		t.Errorf("want it to be said once, got %v", said.All())
	}
}

func TestAnEtcdThatWasOnlyDownIsTheOneThatWasSeen(t *testing.T) {
	change, said := logging(zap.ErrorLevel)
	s := newStage(t, 1)
	s.play("a", 0, change)
	held := s.next("a", "holds")
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	s.quiet(ttl)
	if err := held.Check(); err != nil {
		t.Errorf("want the owner to stay, got %v", err)
	}
	if n := said.FilterMessageSnippet(broken).Len(); n != 0 {
		t.Errorf("want no break of the history, got %v", said.All())
	}
}
