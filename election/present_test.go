package election_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/election"
	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// The others would leave a share of the pool to a member that serves nothing.
func TestAMemberThatCeasesToBeAbleWhileEtcdHangsLeavesThePool(t *testing.T) {
	s := newStage(t, 1)
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &election.Member{Etcd: etcd, Prefix: prefix, PoolPrefix: poolPrefix, Name: "a", TTL: 3 * ttl}
	m.Init()
	ctx, cancel := context.WithCancelCause(t.Context())
	able, ill := context.WithCancelCause(ctx)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			_ = m.Present(able, func() []byte { return []byte("1") }, nil)
			close(ended)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	defer func() { cancel(errors.New("test ends")); <-done }()
	w := &showing{m: m}
	w.until(t, "its own member", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	s.cluster.Member(0).Cut()
	ill(&election.UnableError{Reason: "ill"})
	<-ended
	healed := time.Now()
	if err := s.cluster.Member(0).Heal(); err != nil {
		t.Fatal(err)
	}
	w.until(t, "it to be gone", func(k election.PoolKeys) bool { return len(k.Nodes) == 0 })
	if took := time.Since(healed); took > ttl {
		t.Errorf("want it gone before its lease ends, it took %v", took)
	}
}

// The successor of a process is not able from its start.
func TestAMemberThatDoesNotTakePartGivesUpItsAdoptedKeyInThePool(t *testing.T) {
	s := newStage(t, 1)
	first := s.play("a", 0, both(pooled, func(m *election.Member, _ *election.Campaign) { m.Identity = "id-a" }))
	s.next("a", "holds")
	lease := <-first.leased
	if err := put(t, s.etcd(), poolPrefix+"nodes/a", `{"member":"a","identity":"id-a","node":1}`, lease); err != nil {
		t.Fatal(err)
	}
	first.stop(election.ErrLeave)
	var m *election.Member
	_, unable := ability(false)
	s.play("a", 0, both(pooled, both(unable, func(member *election.Member, _ *election.Campaign) {
		member.Adopt, member.Identity, m = lease, "id-a", member
	})))
	w := &showing{m: m}
	w.until(t, "its adopted key", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	w.until(t, "it to be gone", func(k election.PoolKeys) bool { return len(k.Nodes) == 0 })
}

// A person has put a key in the place of a member.
func TestAForeignKeyInThePlaceOfAMemberOfThePoolIsTold(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	core, said := observer.New(zap.WarnLevel)
	w := s.show("a", func() []byte { return []byte("1") }, nil, func(m *election.Member) { m.Journal = journal.New(zap.New(core)) })
	w.until(t, "its own member", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	if _, err := c.Put(t.Context(), poolPrefix+"nodes/a", "mine"); err != nil {
		t.Fatal(err)
	}
	w.until(t, "that it takes no part", func(k election.PoolKeys) bool { return len(k.Nodes) == 0 })
	if _, err := c.Put(t.Context(), poolPrefix+"drained/x", ""); err != nil {
		t.Fatal(err)
	}
	s.eventually("it told", func() bool { return said.FilterField(zap.String("code", "etcd-pool-member-refused")).Len() > 0 })
	if _, err := c.Delete(t.Context(), poolPrefix+"nodes/a"); err != nil {
		t.Fatal(err)
	}
	w.until(t, "its own member again", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	if got := said.FilterField(zap.String("code", "etcd-pool-member-refused")).FilterMessageSnippet("cannot").Len(); got != 1 {
		t.Errorf("want it told once, got %d: %v", got, said.All())
	}
}
