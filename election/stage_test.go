package election_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/etcdtest"
	"berth/internal/journal"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap/zaptest"
)

const (
	prefix   = "/berth/"
	instance = "api"
	ttl      = 4 * time.Second
)

// limit bounds each wait.
const limit = 20 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", parallel)
	os.Exit(m.Run())
}

// silent is after how long without progress a watch is begun anew: what is known
// earlier was told by the watch.
const silent = 2 * time.Second

// event is what a player did, in the order of all of them.
type event struct {
	player string
	what   string // "holds", "ends" or "gone": after the work of unbinding
	why    error
	at     time.Time
	election.Grant
}

// stage is an etcd cluster, and the events of all players.
type stage struct {
	*testing.T
	cluster *etcdtest.Cluster
	events  chan event
}

// starting has a place for each cluster that may be starting: to start takes the processors,
// and what a test measures must not wait for ten of them.
var starting = make(chan struct{}, 4)

func start(t *testing.T, members int, o etcdtest.Options) *etcdtest.Cluster {
	t.Helper()
	starting <- struct{}{}
	defer func() { <-starting }()
	return etcdtest.Start(t, members, o)
}

func newStage(t *testing.T, members int) *stage {
	t.Helper()
	t.Parallel()
	return &stage{T: t, cluster: start(t, members, etcdtest.Options{}), events: make(chan event, 100)}
}

// player is a member that campaigns for the one instance.
type player struct {
	s      *stage
	name   string
	leased chan clientv3.LeaseID
	status chan election.Status
	stop   func(cause error) // ends it and waits
}

// play starts a member. unbind is how long the end of its holding takes.
func (s *stage) play(name string, unbind time.Duration, change func(*election.Member, *election.Campaign)) *player {
	s.Helper()
	return s.playWith(election.Options{Endpoints: s.cluster.Endpoints()}, name, unbind, change)
}

// playWith plays with an etcd of the caller's. The events of campaigns beside the one of the
// stage have the name of the member and that of what they are for.
func (s *stage) playWith(o election.Options, name string, unbind time.Duration, change func(*election.Member, *election.Campaign), beside ...election.Campaign) *player {
	s.Helper()
	etcd, err := election.NewEtcd(o)
	if err != nil {
		s.Fatal(err)
	}
	p := &player{s: s, name: name, leased: make(chan clientv3.LeaseID, 10), status: make(chan election.Status, 100)}
	log := zaptest.NewLogger(s).Named(name)
	m := &election.Member{Etcd: etcd, Prefix: prefix, Name: name, TTL: ttl, Journal: journal.New(log),
		Leased: func(id clientv3.LeaseID) { p.leased <- id }}
	c := election.Campaign{Instance: instance, Changed: func(st election.Status) { p.status <- st }}
	if change != nil {
		change(m, &c)
	}
	m.Init()
	ctx, cancel := context.WithCancelCause(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		campaign := func(ctx context.Context, name string, c election.Campaign) error {
			return m.Campaign(ctx, c, func(ctx context.Context, g election.Grant) error {
				s.events <- event{name, "holds", nil, time.Now(), g}
				<-ctx.Done()
				s.events <- event{name, "ends", context.Cause(ctx), time.Now(), g}
				<-time.After(unbind)
				s.events <- event{name, "gone", context.Cause(ctx), time.Now(), g}
				return context.Cause(ctx)
			})
		}
		_ = m.Run(ctx, func(ctx context.Context) error {
			var all sync.WaitGroup
			defer all.Wait()
			for _, c := range beside {
				all.Go(func() { _ = campaign(ctx, name+" "+c.Instance, c) })
			}
			return campaign(ctx, name, c)
		})
	}()
	var once sync.Once
	p.stop = func(cause error) {
		once.Do(func() {
			cancel(cause)
			<-done
			if err := etcd.Close(); err != nil {
				s.Error(err)
			}
		})
	}
	s.Cleanup(func() { p.stop(errors.New("test ends")) })
	return p
}

// next returns the next event and fails unless it is the one wanted.
func (s *stage) next(player, what string) event {
	s.Helper()
	select {
	case e := <-s.events:
		if e.player != player || e.what != what {
			s.Fatalf("want that %s %s, got that %s %s (%v)", player, what, e.player, e.what, e.why)
		}
		return e
	case <-time.After(limit):
		s.Fatalf("want that %s %s, got nothing", player, what)
	}
	panic("unreachable")
}

// eventually asks until something holds, for which no channel tells.
func (s *stage) eventually(what string, holds func() bool) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !holds(); <-tick.C {
		if time.Now().After(end) {
			s.Fatalf("want %s", what)
		}
	}
}

// until waits for a status.
func (p *player) until(state vrrp.State) election.Status {
	p.s.Helper()
	for {
		select {
		case st := <-p.status:
			if st.State == state {
				return st
			}
		case <-time.After(limit):
			p.s.Fatalf("want %s to be %v", p.name, state)
		}
	}
}

// etcd returns a client of the test's own.
func (s *stage) etcd() *clientv3.Client {
	s.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	return c
}

// leftBy puts the key of an owner under a lease that no process renews, as a dead owner
// leaves it.
func (s *stage) leftBy(member string, c *clientv3.Client, ttl time.Duration) clientv3.LeaseID {
	s.Helper()
	lease, err := c.Grant(s.Context(), int64(ttl/time.Second))
	if err != nil {
		s.Fatal(err)
	}
	key := fmt.Sprintf("%selections/%s/%x", prefix, instance, int64(lease.ID))
	if _, err := c.Put(s.Context(), key, fmt.Sprintf(`{"member":%q}`, member), clientv3.WithLease(lease.ID)); err != nil {
		s.Fatal(err)
	}
	return lease.ID
}

// put puts a key under a lease.
func put(t *testing.T, c *clientv3.Client, key, value string, lease clientv3.LeaseID) error {
	t.Helper()
	_, err := c.Put(t.Context(), key, value, clientv3.WithLease(lease))
	return err
}

const noCarrier = "no carrier"

// ability returns whether a host can own, as a test sets it, and has a campaign depend
// on it.
func ability(holds bool) (*condition.Value, func(*election.Member, *election.Campaign)) {
	v := &condition.Value{}
	v.Set(holds, noCarrier)
	return v, func(_ *election.Member, c *election.Campaign) { c.Able = v }
}
