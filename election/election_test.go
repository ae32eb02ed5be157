package election_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestTheNextOwnerComesAfterTheFormerIsGone(t *testing.T) {
	s := newStage(t, 3)
	a := s.play("a", 300*time.Millisecond, nil)
	first := s.next("a", "holds")
	b := s.play("b", 0, nil)
	if st := b.until(vrrp.Backup); st.Owner != "a" {
		t.Errorf("want b to know that a is the owner, got %+v", st)
	}
	go a.stop(errors.New("asked to leave"))
	s.next("a", "ends")
	gone := s.next("a", "gone")
	second := s.next("b", "holds")
	if second.Token <= first.Token {
		t.Errorf("want a greater token than %d, got %d", first.Token, second.Token)
	}
	if took := second.at.Sub(gone.at); took > ttl/2 {
		t.Errorf("want b to own at once, it took %v", took)
	}
	a.stop(nil)
	if left, err := s.etcd().TimeToLive(t.Context(), <-a.leased); err != nil || left.TTL >= 0 {
		t.Errorf("want the lease given back, got %+v, %v", left, err)
	}
}

func TestAKeyDeletedByHandEndsTheOwnership(t *testing.T) {
	s := newStage(t, 1)
	s.play("a", 0, nil)
	held := s.next("a", "holds")
	c := s.etcd()
	deleted := time.Now()
	if _, err := c.Delete(t.Context(), prefix+"elections/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	e := s.next("a", "ends")
	if !errors.Is(e.why, election.ErrKeyLost) {
		t.Errorf("want the key lost, got %v", e.why)
	}
	if took := e.at.Sub(deleted); took > silent/2 {
		t.Errorf("want it at once, it took %v", took)
	}
	gone := s.next("a", "gone")
	again := s.next("a", "holds")
	if again.Token <= held.Token {
		t.Errorf("want a new token, got %d after %d", again.Token, held.Token)
	}
	if took := again.at.Sub(gone.at); took > ttl/2 {
		t.Errorf("want a not to wait for itself, it took %v", took)
	}
}

func TestADeletedKeyOfALivingLeaseMakesTheNextOwnerWait(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, nil)
	s.next("a", "holds")
	b := s.play("b", 0, nil)
	b.until(vrrp.Backup)
	lease := <-a.leased
	deleted := time.Now()
	if _, err := s.etcd().Delete(t.Context(), fmt.Sprintf("%selections/%s/%x", prefix, instance, int64(lease))); err != nil {
		t.Fatal(err)
	}
	s.next("a", "ends")
	s.next("a", "gone")
	if took := s.next("b", "holds").at.Sub(deleted); took < ttl-100*time.Millisecond {
		t.Errorf("want b to wait for %v, it took %v", ttl, took)
	}
}

func TestAnAdoptedKeyWithoutACampaignIsGivenUp(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, nil)
	s.next("a", "holds")
	lease := <-a.leased
	go a.stop(election.ErrLeave)
	s.next("a", "ends")
	s.next("a", "gone")
	a.stop(nil)
	s.play("a", 0, func(m *election.Member, c *election.Campaign) { m.Adopt, c.Instance = lease, "other" })
	s.next("a", "holds")
	s.play("b", 0, nil)
	s.next("b", "holds")
}

func TestAnUnableHostIsNotACandidate(t *testing.T) {
	s := newStage(t, 1)
	able, depending := ability(false)
	p := s.play("a", 0, depending)
	if st := p.until(vrrp.Fault); st.Reason != noCarrier {
		t.Errorf("want the reason, got %+v", st)
	}
	able.Set(true, "")
	s.next("a", "holds")
	able.Set(false, noCarrier)
	if e := s.next("a", "ends"); e.why.Error() != noCarrier {
		t.Errorf("want the reason, got %v", e.why)
	}
}

func TestAnOwnerIsToldWhenAnotherMemberJoins(t *testing.T) {
	s := newStage(t, 1)
	joined := make(chan time.Time, 10)
	listen := func(_ *election.Member, c *election.Campaign) { c.Joined = func() { joined <- time.Now() } }
	s.play("a", 0, listen)
	s.next("a", "holds")
	for _, name := range []string{"b", "c"} {
		s.play(name, 0, listen).until(vrrp.Backup)
		select {
		case <-joined:
		case <-time.After(limit):
			t.Fatalf("want a to be told of %s", name)
		}
	}
	if n := len(joined); n != 0 {
		t.Errorf("want a alone to be told, once of each, got %d more", n)
	}
}

func TestManyInstancesShareOneLease(t *testing.T) {
	s := newStage(t, 1)
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &election.Member{Etcd: etcd, Prefix: prefix, Name: "a", TTL: ttl}
	m.Init()
	ctx, cancel := context.WithCancelCause(t.Context())
	held := make(chan string, 20)
	done := make(chan error, 1)
	go func() {
		done <- m.Run(ctx, func(ctx context.Context) error {
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					name := "odd/name " + strconv.Itoa(i)
					_ = m.Campaign(ctx, election.Campaign{Instance: name}, func(ctx context.Context, _ election.Grant) error {
						held <- name
						<-ctx.Done()
						return nil
					})
				})
			}
			all.Wait()
			return context.Cause(ctx)
		})
	}()
	seen := map[string]bool{}
	for len(seen) < 20 {
		select {
		case name := <-held:
			seen[name] = true
		case <-time.After(limit):
			t.Fatalf("want 20 owned, got %d", len(seen))
		}
	}
	leases, err := s.etcd().Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Errorf("want one lease, got %v, %v", leases, err)
	}
	cancel(errors.New("leave"))
	<-done
	if left, err := s.etcd().Get(t.Context(), prefix+"elections/", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || left.Count != 0 {
		t.Errorf("want nothing left, got %d, %v", left.Count, err)
	}
}
