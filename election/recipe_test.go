package election_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/election"
	"berth/internal/journal"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
)

// recipeName is a name as programs give it to the recipe; recipePlace is where their
// candidates stand, and so is the key of the instance that has this name.
const (
	recipeName  = "/govip/"
	recipePlace = "/govip//"
)

// inRecipe has a player stand where candidates of the recipe stand.
func inRecipe(m *election.Member, _ *election.Campaign) {
	m.Places = map[string]string{instance: recipePlace}
}

// recipe is a candidate of etcd's own election recipe, as another program is one.
type recipe struct {
	s       *stage
	session *concurrency.Session
	*concurrency.Election
	elected chan time.Time // when the campaign was won
}

// recipeTTL is far longer than a hand-over may take, as that of the library is.
const recipeTTL = 30

// candidate starts a candidate of the recipe with the lease of so many seconds.
func (s *stage) candidate(c *clientv3.Client, member string, ttl int) *recipe {
	s.Helper()
	session, err := concurrency.NewSession(c, concurrency.WithTTL(ttl))
	if err != nil {
		s.Fatal(err)
	}
	r := &recipe{s, session, concurrency.NewElection(session, recipeName), make(chan time.Time, 1)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r.Campaign(ctx, member) == nil {
			r.elected <- time.Now()
		}
	}()
	s.Cleanup(func() {
		cancel()
		<-done
		session.Orphan()
	})
	return r
}

func (r *recipe) wins() time.Time {
	r.s.Helper()
	select {
	case at := <-r.elected:
		return at
	case <-time.After(limit):
		r.s.Fatal("want that the candidate of the recipe is elected")
	}
	panic("unreachable")
}

// waits fails if the candidate is elected although another owns.
func (r *recipe) waits() {
	r.s.Helper()
	select {
	case <-r.elected:
		r.s.Fatal("want that the candidate of the recipe waits for its turn")
	default:
	}
}

// queued waits until so many candidates stand in the queue.
func (s *stage) queued(c *clientv3.Client, want int64) {
	s.Helper()
	s.eventually("candidates in the queue", func() bool {
		r, err := c.Get(s.Context(), recipePlace, clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && r.Count == want
	})
}

// prompt is for how long nobody may own after a clean end: no lease is waited for.
const prompt = ttl / 2

func TestBerthFollowsACandidateOfEtcdsRecipe(t *testing.T) {
	for name, end := range map[string]func(*recipe) error{
		"resigns":           func(r *recipe) error { return r.Resign(t.Context()) },
		"ends its session":  func(r *recipe) error { return r.session.Close() },
		"loses its lease":   func(r *recipe) error { r.session.Orphan(); return nil },
		"has its key taken": func(r *recipe) error { _, err := r.session.Client().Delete(t.Context(), r.Key()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			c := s.etcd()
			lease := recipeTTL
			if name == "loses its lease" {
				lease = 5
			}
			other := s.candidate(c, "lb2", lease)
			other.wins()
			core, log := observer.New(zap.InfoLevel)
			// The name of the member is the other's: that program may have run on this host before.
			p := s.play("lb2", 0, func(m *election.Member, c *election.Campaign) {
				inRecipe(m, c)
				m.Journal = journal.New(zap.New(zapcore.NewTee(core, zaptest.NewLogger(t).Core())))
			})
			if st := p.until(vrrp.Backup); st.Owner != "lb2" || st.Reason != "a program other than berth is the owner" {
				t.Errorf("want the other program as the owner, got %+v", st)
			}
			s.queued(c, 2)
			ended := time.Now()
			if err := end(other); err != nil {
				t.Fatal(err)
			}
			held := s.next("lb2", "holds")
			if name == "loses its lease" {
				if took := held.at.Sub(ended); took > limit {
					t.Errorf("want the address within the lease, it took %v", took)
				}
			} else if took := held.at.Sub(ended); took > prompt {
				t.Errorf("want no wait for a lease that is given up, it took %v", took)
			}
			s.eventually("the end of the mixture told", func() bool {
				return log.FilterField(zap.String("code", "candidate-foreign")).FilterMessage("all members that take part in the election are those of berth").Len() == 1
			})
		})
	}
}

func TestACandidateOfEtcdsRecipeFollowsBerth(t *testing.T) {
	for name, end := range map[string]func(*stage, *clientv3.Client, *player, clientv3.LeaseID){
		"stops": func(_ *stage, _ *clientv3.Client, p *player, _ clientv3.LeaseID) { p.stop(errors.New("stopped")) },
		"loses its lease": func(s *stage, c *clientv3.Client, _ *player, lease clientv3.LeaseID) {
			if _, err := c.Revoke(s.Context(), lease); err != nil {
				s.Fatal(err)
			}
		},
		"hands over": func(s *stage, _ *clientv3.Client, p *player, _ clientv3.LeaseID) {
			etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
			if err != nil {
				s.Fatal(err)
			}
			defer etcd.Close()
			if err := election.Release(s.Context(), etcd, prefix, map[string]string{instance: recipePlace}, instance, election.Asker{Member: p.name}); err != nil {
				s.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			c := s.etcd()
			p := s.play("a", 50*time.Millisecond, inRecipe)
			lease := <-p.leased
			s.next("a", "holds")
			other := s.candidate(c, "lb2", recipeTTL)
			s.queued(c, 2)
			other.waits()
			end(s, c, p, lease)
			ends := s.next("a", "ends")
			gone := s.next("a", "gone")
			won := other.wins()
			switch {
			case name == "loses its lease": // which the other hears as soon as berth does
				if late := ends.at.Sub(won); late > 100*time.Millisecond {
					t.Errorf("want the end as soon as the key is gone, it came %v later", late)
				}
			case won.Before(gone.at):
				t.Errorf("want that the other is elected after the addresses are gone, it was %v before", gone.at.Sub(won))
			case won.Sub(gone.at) > prompt:
				t.Errorf("want the other soon after, it took %v", won.Sub(gone.at))
			}
		})
	}
}

// People read and ask about a queue in which another program stands.
func TestAQueueWithAnotherProgramIsShownAndAskedAbout(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	other := s.candidate(c, "lb2", recipeTTL)
	other.wins()
	p := s.play("a", 0, inRecipe)
	p.until(vrrp.Backup)
	s.queued(c, 2)
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	places := map[string]string{instance: recipePlace}
	owners, err := etcd.Owners(t.Context(), prefix, places)
	if err != nil || owners[instance].Member != "lb2" {
		t.Errorf("want lb2 as the owner, got %v, %v", owners, err)
	}
	keys, err := etcd.Cluster(t.Context(), prefix, "", places)
	if err != nil {
		t.Fatal(err)
	}
	var queue []string
	for _, q := range keys.Instances[instance] {
		queue = append(queue, q.Member)
		if q.Foreign != (q.Member == "lb2") {
			t.Errorf("want the other program told apart, got %+v", q)
		}
	}
	if !slices.Equal(queue, []string{"lb2", "a"}) {
		t.Errorf("want lb2 and a, got %v", queue)
	}
	err = election.Takeover(t.Context(), etcd, prefix, places, instance, election.Asker{Member: "a"})
	if err == nil || !strings.Contains(err.Error(), "lb2, which comes before this host in the queue of api, is a program other than berth and answers no request; stop it on its host") {
		t.Errorf("want a refusal with the cure, got %v", err)
	}
}
