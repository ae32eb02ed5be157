package election_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"berth/election"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// agent is a member whose campaigns begin and end at run time. Its events have the name of
// the address.
type agent struct {
	s      *stage
	m      *election.Member
	ctx    context.Context
	leased chan clientv3.LeaseID
	stop   func(cause error) // ends it and waits

	running sync.WaitGroup
}

const added = "192.0.2.1"

func (s *stage) agent(name string, change func(*election.Member)) *agent {
	s.Helper()
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		s.Fatal(err)
	}
	a := &agent{s: s, leased: make(chan clientv3.LeaseID, 10)}
	a.m = &election.Member{Etcd: etcd, Prefix: prefix, Name: name, Identity: "id-" + name, TTL: 2 * ttl, Leased: func(l clientv3.LeaseID) { a.leased <- l }}
	if change != nil {
		change(a.m)
	}
	a.m.Init()
	ctx, cancel := context.WithCancelCause(s.Context())
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = a.m.Run(ctx, func(ctx context.Context) error {
			a.ctx = ctx
			close(begun)
			<-ctx.Done()
			a.running.Wait()
			return context.Cause(ctx)
		})
	}()
	<-begun
	a.stop = func(cause error) { cancel(cause); <-done; etcd.Close() }
	s.Cleanup(func() { a.stop(errors.New("test ends")) })
	return a
}

// campaign begins a campaign for an address that is not in the configuration.
func (a *agent) campaign(address string, alone bool) (end func(cause error)) {
	ctx, cancel := context.WithCancelCause(a.ctx)
	done := make(chan struct{})
	a.running.Go(func() {
		defer close(done)
		_ = a.m.Campaign(ctx, election.Campaign{Instance: address, Alone: alone}, func(ctx context.Context, g election.Grant) error {
			a.s.events <- event{a.m.Name, "holds", nil, time.Now(), g}
			<-ctx.Done()
			a.s.events <- event{a.m.Name, "gone", context.Cause(ctx), time.Now(), g}
			return context.Cause(ctx)
		})
	})
	return func(cause error) { cancel(cause); <-done }
}

var errRemoved = errors.New("removed")

func TestACampaignForAnAddressBeginsAndEndsAtRunTime(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	a, b := s.agent("a", nil), s.agent("b", nil)
	end := a.campaign(added, false)
	first := s.next("a", "holds")
	end(errRemoved)
	s.next("a", "gone")
	if got := s.keys(c, prefix); fmt.Sprint(got) != "[released/"+added+"]" {
		t.Errorf("want a record alone, got %v", got)
	}
	end = a.campaign(added, false) // at once
	again := s.next("a", "holds")
	if again.Token <= first.Token {
		t.Errorf("want a greater token than %d, got %d", first.Token, again.Token)
	}
	b.campaign(added, false)
	other := a.campaign("2001:db8::1", false)
	s.next("a", "holds")
	end(errRemoved)
	gone := s.next("a", "gone")
	if took := s.next("b", "holds").at.Sub(gone.at); took > ttl/2 {
		t.Errorf("want b to own at once, it took %v", took)
	}
	other(errRemoved)
	s.next("a", "gone")
}

// The key that is left must neither be used by the next campaign nor keep others out.
func TestACampaignForAnAddressEndsWhileEtcdHangs(t *testing.T) {
	t.Parallel() // or the tests after this one would wait for its rows
	for _, again := range []bool{true, false} {
		t.Run(map[bool]string{true: "and begins again", false: "and is over"}[again], func(t *testing.T) {
			s := newStage(t, 1)
			a := s.agent("a", nil)
			end := a.campaign(added, false)
			first := s.next("a", "holds")
			s.cluster.Member(0).Hang()
			end(errRemoved)
			s.next("a", "gone")
			if again {
				a.campaign(added, false)
			}
			if err := s.cluster.Member(0).Heal(); err != nil {
				t.Fatal(err)
			}
			healed := time.Now()
			if again {
				if second := s.next("a", "holds"); second.Token <= first.Token {
					t.Errorf("want a greater token than %d, got %d", first.Token, second.Token)
				}
				return
			}
			s.agent("b", nil).campaign(added, false)
			if took := s.next("b", "holds").at.Sub(healed); took > ttl {
				t.Errorf("want b to own soon, it took %v", took)
			}
		})
	}
}

// A campaign ends while its request to put the key is under way.
func TestAKeyThatComesAfterItsCampaignHasEndedIsGivenUp(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	a := s.agent("a", func(m *election.Member) { m.TTL = 5 * ttl })
	a.campaign("192.0.2.9", false) // so that there is a lease and a connection
	s.next("a", "holds")
	key := fmt.Sprintf("%selections/%s/%x", prefix, added, int64(<-a.leased))
	changes := c.Watch(clientv3.WithRequireLeader(t.Context()), key, clientv3.WithCreatedNotify())
	<-changes
	s.cluster.Member(0).Delay(time.Second)
	end := a.campaign(added, false)
	time.AfterFunc(300*time.Millisecond, func() { end(errRemoved) })
	for _, want := range []mvccpb.Event_EventType{clientv3.EventTypePut, clientv3.EventTypeDelete} {
		select {
		case w := <-changes:
			if len(w.Events) != 1 || w.Events[0].Type != want {
				t.Fatalf("want %v, got %+v", want, w)
			}
		case <-time.After(limit):
			t.Fatalf("want %v", want)
		}
		if err := s.cluster.Member(0).Heal(); err != nil {
			t.Fatal(err)
		}
	}
	s.agent("b", nil).campaign(added, false)
	s.next("b", "holds")
}

// The next process begins the campaigns of added addresses when their keys are known, and
// not all of those that the former one had.
func TestAnAdoptedKeyOfAnAddedAddressWaitsForItsCampaign(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	if _, err := c.Put(t.Context(), election.AddedKey(prefix, "a", added), "{}"); err != nil {
		t.Fatal(err)
	}
	former := s.agent("a", nil)
	former.campaign(added, false)
	held := s.next("a", "holds")
	former.campaign("192.0.2.2", false)
	s.next("a", "holds")
	lease := <-former.leased
	go former.stop(election.ErrLeave)
	s.next("a", "gone")
	s.next("a", "gone")
	former.stop(nil)
	a := s.agent("a", func(m *election.Member) { m.Adopt = lease })
	for known := false; !known; {
		keys, ok, changed := a.m.Added()
		if known = ok && len(keys.Values) == 1; !known {
			<-changed
		}
	}
	time.AfterFunc(2*time.Second, func() { a.campaign(added, false) }) // a busy host
	if again := s.next("a", "holds"); again.Token != held.Token {
		t.Errorf("want the token %d still, got %d", held.Token, again.Token)
	}
	s.agent("b", nil).campaign("192.0.2.2", false)
	s.next("b", "holds")
}

func TestAnAddressThatIsAddedWithoutEtcdIsClaimed(t *testing.T) {
	s := newStage(t, 1)
	a := s.agent("a", func(m *election.Member) { m.TTL, m.Retain, m.Claims = ttl, true, true })
	a.campaign("192.0.2.9", true)
	s.next("a", "holds")
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	// The owner goes on; an address that is added now is had as soon as etcd was silent for a lease.
	killed := time.Now()
	a.campaign(added, true)
	e := s.next("a", "holds")
	if took := e.at.Sub(killed); e.Token != 0 || took > ttl+2*time.Second {
		t.Errorf("want it to act alone after %v, got token %d after %v", ttl, e.Token, took)
	}
	again := time.Now()
	end := a.campaign("2001:db8::1", true)
	if e := s.next("a", "holds"); e.Token != 0 || e.at.Sub(again) > time.Second {
		t.Errorf("want another at once, got token %d after %v", e.Token, e.at.Sub(again))
	}
	end(errRemoved)
	s.next("a", "gone")
	if err := s.cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	s.next("a", "gone")
	if e := s.next("a", "holds"); e.Token == 0 {
		t.Error("want it elected when etcd answers")
	}
}
