package election_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/vrrp"
)

const (
	prefix   = "/berth/"
	instance = "api"
	ttl      = 4 * time.Second
)

// patience bounds every single wait.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	// They wait for leases to end most of the time.
	flag.Set("test.parallel", "5")
	os.Exit(m.Run())
}

// silent is after how long without a sign of life a watch is begun anew: what is
// known earlier was told by the watch.
const silent = 2 * time.Second

// event is something that a player did, in the order of all of them.
type event struct {
	who  string
	what string // "holds", "ends" or "gone": after the work of unbinding
	why  error
	at   time.Time
	election.Grant
}

// stage is where players play: an etcd cluster and all that happened.
type stage struct {
	*testing.T
	cluster *etcdtest.Cluster
	events  chan event
}

func newStage(t *testing.T, members int) *stage {
	t.Helper()
	t.Parallel()
	return &stage{T: t, cluster: etcdtest.Start(t, members, etcdtest.Options{}), events: make(chan event, 100)}
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

func (s *stage) playWith(o election.Options, name string, unbind time.Duration, change func(*election.Member, *election.Campaign)) *player {
	s.Helper()
	etcd, err := election.NewEtcd(o)
	if err != nil {
		s.Fatal(err)
	}
	p := &player{s: s, name: name, leased: make(chan clientv3.LeaseID, 10), status: make(chan election.Status, 100)}
	log := zaptest.NewLogger(s).Named(name)
	m := &election.Member{Etcd: etcd, Prefix: prefix, Name: name, TTL: ttl, Log: log,
		Leased: func(id clientv3.LeaseID) { p.leased <- id }}
	c := election.Campaign{Instance: instance, Log: log, Changed: func(st election.Status) { p.status <- st }}
	if change != nil {
		change(m, &c)
	}
	m.Init()
	ctx, cancel := context.WithCancelCause(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			return m.Campaign(ctx, c, func(ctx context.Context, g election.Grant) error {
				s.events <- event{name, "holds", nil, time.Now(), g}
				<-ctx.Done()
				s.events <- event{name, "ends", context.Cause(ctx), time.Now(), g}
				<-time.After(unbind)
				s.events <- event{name, "gone", context.Cause(ctx), time.Now(), g}
				return context.Cause(ctx)
			})
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
func (s *stage) next(who, what string) event {
	s.Helper()
	select {
	case e := <-s.events:
		if e.who != who || e.what != what {
			s.Fatalf("want that %s %s, got that %s %s (%v)", who, what, e.who, e.what, e.why)
		}
		return e
	case <-time.After(patience):
		s.Fatalf("want that %s %s, got nothing", who, what)
	}
	panic("unreachable")
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
		case <-time.After(patience):
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

// leftBy puts the key of an owner under a lease that nobody renews, as a dead one
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
	if took := second.at.Sub(gone.at); took > time.Second {
		t.Errorf("want b to own at once, it took %v", took)
	}
	a.stop(nil)
	if left, err := s.etcd().TimeToLive(t.Context(), <-a.leased); err != nil || left.TTL >= 0 {
		t.Errorf("want the lease given back, got %+v, %v", left, err)
	}
}

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
	// The lease was not lost in etcd, so nobody can have come in between.
	if err := s.cluster.Member(0).Heal(); err != nil {
		t.Fatal(err)
	}
	if again := s.next("a", "holds"); again.Token != held.Token {
		t.Logf("another token after the heal: %d, was %d (the lease had expired)", again.Token, held.Token)
	}
}

func TestKeepGoesOnWithoutEtcdUntilItSaysTheLeaseIsGone(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, func(m *election.Member, _ *election.Campaign) { m.Keep = true })
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
	if err := s.cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
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

func TestKeepEndsWhenEtcdRefuses(t *testing.T) {
	s, o := newGuardedStage(t, 3)
	for _, i := range []int{1, 2} { // no token of theirs
		s.cluster.Member(i).Hang()
	}
	s.playWith(o, "a", 0, func(m *election.Member, _ *election.Campaign) { m.Keep = true })
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
	// It answers, so that others can be elected.
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

func TestAnExpiredLeaseMakesNobodyWait(t *testing.T) {
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
	if took := again.at.Sub(gone.at); took > time.Second {
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
		m.Adopt, m.TTL, m.Log = lease, ttl+time.Second, zap.New(core)
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

func TestAnAdoptedPlaceThatNobodyWantsIsGivenUp(t *testing.T) {
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

func TestAWantedMemberTakesOverFromTheEndOfTheQueue(t *testing.T) {
	s := newStage(t, 3)
	s.play("a", 100*time.Millisecond, nil)
	s.next("a", "holds")
	s.play("b", 0, nil).until(vrrp.Backup)
	s.play("c", 0, nil).until(vrrp.Backup)
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if err := election.Takeover(t.Context(), etcd, prefix, instance, election.Asker{Member: "c"}); err != nil {
		t.Fatal(err)
	}
	if e := s.next("a", "ends"); !errors.Is(e.why, election.ErrHandOver) {
		t.Errorf("want a hand-over, got %v", e.why)
	}
	gone := s.next("a", "gone")
	// Not even for b, which may have been the first in the queue for a moment.
	if took := s.next("c", "holds").at.Sub(gone.at); took > ttl/2 {
		t.Errorf("want c to wait for nobody, it took %v", took)
	}
	if err := election.Takeover(t.Context(), etcd, prefix, instance, election.Asker{Member: "nobody"}); err == nil {
		t.Error("want a refusal to hand over to a member that is not there")
	}
	if err := election.Release(t.Context(), etcd, prefix, instance, election.Asker{Member: "c"}); err != nil {
		t.Fatal(err)
	}
	s.next("c", "ends")
	s.next("c", "gone")
	if e := <-s.events; e.what != "holds" || e.who == "c" {
		t.Errorf("want another one to hold, got that %s %s", e.who, e.what)
	}
	if err := election.Release(t.Context(), etcd, prefix, "other", election.Asker{Member: "c"}); err == nil || !strings.Contains(err.Error(), "nobody else takes part") {
		t.Errorf("want a refusal to hand over where nobody else is, got %v", err)
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
		t.Errorf("want nothing to happen, got that %s %s: %v", e.who, e.what, e.why)
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

func TestAnUnableHostIsNoCandidate(t *testing.T) {
	s := newStage(t, 1)
	var mu sync.Mutex
	able, changed := false, make(chan struct{})
	set := func(v bool) {
		mu.Lock()
		defer mu.Unlock()
		able = v
		close(changed)
		changed = make(chan struct{})
	}
	p := s.play("a", 0, func(_ *election.Member, c *election.Campaign) {
		c.Able = func() (bool, string) {
			mu.Lock()
			defer mu.Unlock()
			return able, "no carrier"
		}
		c.AbleChanged = func() <-chan struct{} {
			mu.Lock()
			defer mu.Unlock()
			return changed
		}
	})
	if st := p.until(vrrp.Fault); st.Reason != "no carrier" {
		t.Errorf("want the reason, got %+v", st)
	}
	set(true)
	s.next("a", "holds")
	set(false)
	if e := s.next("a", "ends"); e.why.Error() != "no carrier" {
		t.Errorf("want the reason, got %v", e.why)
	}
}

func TestAnOwnerIsToldWhenSomebodyJoins(t *testing.T) {
	s := newStage(t, 1)
	joined := make(chan time.Time, 10)
	listen := func(_ *election.Member, c *election.Campaign) { c.Joined = func() { joined <- time.Now() } }
	s.play("a", 0, listen)
	s.next("a", "holds")
	for _, name := range []string{"b", "c"} {
		s.play(name, 0, listen).until(vrrp.Backup)
		select {
		case <-joined:
		case <-time.After(patience):
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
		case <-time.After(patience):
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

// put puts a key under a lease.
func put(t *testing.T, c *clientv3.Client, key, value string, lease clientv3.LeaseID) error {
	t.Helper()
	_, err := c.Put(t.Context(), key, value, clientv3.WithLease(lease))
	return err
}
