package election_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/vrrp"
)

// claiming is how a member of an election with on-etcd-loss: claim takes part.
func claiming(m *election.Member, c *election.Campaign) {
	m.Retain, m.Claims, c.Alone = true, true, true
}

// tally is which players hold an instance or an address of the pool, and for how long no
// player did at most.
type tally struct {
	holding map[string]bool
	since   time.Time // when the last of them ended
	longest time.Duration
}

func (l *tally) take(e event) {
	switch e.what {
	case "holds":
		if len(l.holding) == 0 {
			l.longest = max(l.longest, e.at.Sub(l.since))
		}
		l.holding[e.player] = true
	case "ends":
		delete(l.holding, e.player)
		if len(l.holding) == 0 {
			l.since = e.at
		}
	}
}

// tallies are that of the instance and that of an address of the pool.
type tallies struct {
	s    *stage
	each [2]*tally
}

func newTallies(s *stage) tallies {
	empty := func() *tally { return &tally{holding: map[string]bool{}, since: time.Now()} }
	return tallies{s, [...]*tally{empty(), empty()}}
}

func (ls tallies) take(e event) {
	if strings.HasSuffix(e.player, slot) {
		ls.each[1].take(e)
	} else {
		ls.each[0].take(e)
	}
}

// during takes events for d.
func (ls tallies) during(d time.Duration) {
	for end := time.After(d); ; {
		select {
		case e := <-ls.s.events:
			ls.take(e)
		case <-end:
			for _, l := range ls.each {
				if len(l.holding) == 0 {
					l.longest = max(l.longest, time.Since(l.since))
				}
			}
			return
		}
	}
}

// one waits until exactly one holds each.
func (ls tallies) one(what string) {
	ls.s.Helper()
	for end := time.After(limit); ; {
		settled := time.After(ttl / 2)
		if len(ls.each[0].holding) != 1 || len(ls.each[1].holding) != 1 {
			settled = nil
		}
		select {
		case e := <-ls.s.events:
			ls.take(e)
		case <-settled:
			return
		case <-end:
			ls.s.Fatalf("%s: want one owner of each, got %v and %v", what, ls.each[0].holding, ls.each[1].holding)
		}
	}
}

// However etcd is lost, a healthy host has the instance after a lease and a second, and
// one alone has it again after the heal.
func TestWithClaimThereIsAnOwnerHoweverEtcdIsLost(t *testing.T) {
	t.Parallel() // or the tests after this one would wait for its rows
	all := func(f func(s *stage, i int) error) func(*testing.T, *stage) {
		return func(t *testing.T, s *stage) {
			t.Helper()
			for i := range s.cluster.Members() {
				if err := f(s, i); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	const right = password
	password := func(text string) func(*testing.T, *stage) {
		return func(t *testing.T, s *stage) {
			if _, err := s.root().UserChangePassword(t.Context(), user, text); err != nil {
				t.Fatal(err)
			}
			s.cluster.Member(0).Cut() // connections that have logged in
			if err := s.cluster.Member(0).Heal(); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows := []struct {
		name       string
		members    int
		lose, heal func(*testing.T, *stage)
	}{
		{"stopped", 3, all(func(s *stage, i int) error { return s.cluster.Member(i).Stop() }), all(func(s *stage, i int) error { return s.cluster.Member(i).Restart() })},
		{"killed", 3, all(func(s *stage, i int) error { return s.cluster.Member(i).Kill() }), all(func(s *stage, i int) error { return s.cluster.Member(i).Restart() })},
		{"frozen", 3, all(func(s *stage, i int) error { return s.cluster.Member(i).Pause() }), all(func(s *stage, i int) error { return s.cluster.Member(i).Resume() })},
		{"cut off", 3, all(func(s *stage, i int) error { s.cluster.Member(i).Cut(); s.cluster.Member(i).Hang(); return nil }), all(func(s *stage, i int) error { return s.cluster.Member(i).Heal() })},
		{"without a quorum", 3, all(func(s *stage, i int) error {
			if i == 0 {
				return nil
			}
			return s.cluster.Member(i).Kill()
		}), all(func(s *stage, i int) error {
			if i == 0 {
				return nil
			}
			return s.cluster.Member(i).Restart()
		})},
		{"slow", 3, all(func(s *stage, i int) error { s.cluster.Member(i).Delay(3 * time.Second); return nil }), all(func(s *stage, i int) error { return s.cluster.Member(i).Heal() })},
		{"without space", 1, func(t *testing.T, s *stage) { s.full() }, func(t *testing.T, s *stage) { s.free() }},
		{"refusing the password", 1, password("another"), password(right)},
		{"with another history", 1, func(t *testing.T, s *stage) {
			if err := s.cluster.Wipe("another"); err != nil {
				t.Fatal(err)
			}
		}, func(*testing.T, *stage) {}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var s *stage
			var o election.Options
			if row.name == "refusing the password" {
				s, o = newGuardedStage(t, row.members)
			} else {
				s = newStage(t, row.members)
				o = election.Options{Endpoints: s.cluster.Endpoints()}
			}
			able := map[string]*condition.Value{}
			for _, name := range []string{"a", "b", "sick"} {
				of, depending := ability(name != "sick")
				inPool, _ := ability(name != "sick")
				able[name], able[name+" "+slot] = of, inPool
				s.playWith(o, name, 0, both(both(claiming, depending), func(m *election.Member, _ *election.Campaign) { m.PoolPrefix = poolPrefix }),
					election.Campaign{Pool: true, Instance: slot, Alone: true, Able: inPool})
			}
			ls := newTallies(s)
			ls.one("at first")
			var owners []string
			for _, l := range ls.each {
				for owner := range l.holding {
					owners = append(owners, owner)
				}
				l.longest = 0
			}
			row.lose(t, s)
			ls.during(ttl + 3*time.Second)
			// The owner of before falls ill while etcd is lost.
			for _, owner := range owners {
				able[owner].Set(false, "ill")
			}
			ls.during(ttl + 2*time.Second)
			for i, l := range ls.each {
				if l.holding["sick"] || l.holding["sick "+slot] || l.holding[owners[i]] || len(l.holding) != 1 {
					t.Errorf("want the healthy host to be the owner instead of %s, got %v", owners[i], l.holding)
				}
			}
			row.heal(t, s)
			for _, owner := range owners {
				able[owner].Set(true, "")
			}
			ls.one("after the heal")
			for i, l := range ls.each {
				if most := ttl + time.Second; l.longest > most {
					t.Errorf("want no more than %v without an owner after %s, got %v", most, owners[i], l.longest)
				}
			}
		})
	}
}

// free ends what full began.
func (s *stage) free() {
	s.Helper()
	alarm := map[string]any{"action": "DEACTIVATE", "alarm": "NOSPACE"}
	if err := s.cluster.Call(s.Context(), "maintenance/alarm", alarm, nil); err != nil {
		s.Fatal(err)
	}
}

// A member that starts while etcd is lost claims as well.
func TestWithClaimAMemberBeginsWithoutEtcd(t *testing.T) {
	s := newStage(t, 1)
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	for _, claims := range []bool{true, false} {
		etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
		if err != nil {
			t.Fatal(err)
		}
		m := &election.Member{Etcd: etcd, Prefix: prefix, Name: "a", TTL: ttl, Claims: claims}
		m.Init()
		ctx, cancel := context.WithTimeout(t.Context(), ttl+2*time.Second)
		begun := time.Now()
		_ = m.Run(ctx, func(ctx context.Context) error {
			_, err := m.Begun(ctx)
			if took := time.Since(begun); (err == nil) != claims || claims && (took < ttl || took > ttl+time.Second) {
				t.Errorf("with claims %t: got %v after %v", claims, err, took)
			}
			return err
		})
		cancel()
		etcd.Close()
	}
}

// A host that cannot get a lease sees that another is the owner, and stays out.
func TestAMemberThatSeesAnOwnerDoesNotActAlone(t *testing.T) {
	s := newStage(t, 1)
	s.leftBy("other", s.etcd(), 3*ttl)
	s.full()
	a := s.play("a", 0, claiming)
	a.until(vrrp.Fault)
	s.quiet(2*ttl + time.Second)
	if e := s.next("a", "holds"); e.Token != 0 {
		t.Errorf("want it to act alone, got token %d", e.Token)
	}
	s.free()
	s.next("a", "ends")
	s.next("a", "gone")
	if e := s.next("a", "holds"); e.Token == 0 {
		t.Error("want a token")
	}
}

// The permission to act alone ends where the process stands still.
func TestThePermissionToActAloneIsRenewedAndIsThatOfAllAddresses(t *testing.T) {
	s := newStage(t, 1)
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	var m *election.Member
	renewed := make(chan struct{}, 100)
	s.play("a", 0, both(claiming, func(member *election.Member, _ *election.Campaign) {
		m = member
		m.Renewed = func() { renewed <- struct{}{} }
	}))
	e := s.next("a", "holds")
	for range 3 {
		<-renewed
		if left := time.Until(m.End()); left < ttl-time.Second || left > ttl {
			t.Errorf("want the end of addresses a lease away, got %v", left)
		}
		if left := time.Until(e.End()); left < ttl-time.Second || left > ttl || e.Check() != nil {
			t.Errorf("want the end of the permission a lease away, got %v, %v", left, e.Check())
		}
	}
	if err := s.cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	if e := s.next("a", "ends"); !errors.Is(e.why, election.ErrReachable) {
		t.Errorf("want the end because etcd answers, got %v", e.why)
	}
}

func TestAMemberThatIsNotServedIsToldWhy(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	o.Password = "guess"
	etcd, err := election.NewEtcd(o)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	m := &election.Member{Etcd: etcd, Prefix: prefix, Name: "a", TTL: ttl}
	m.Init()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	begun := time.Now()
	err = m.Run(ctx, m.Unserved)
	if want := "etcd has acknowledged no lease for 4s: " + s.cluster.Endpoints()[0] + ": etcdserver: authentication failed, invalid user ID or password"; err == nil || err.Error() != want {
		t.Errorf("want %s, got %v", want, err)
	}
	if took := time.Since(begun); took < ttl || took > ttl+time.Second {
		t.Errorf("want it after %v, it took %v", ttl, took)
	}
}

func TestAMemberThatActsAloneEndsWhenItIsUnableAndComesBack(t *testing.T) {
	s := newStage(t, 1)
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	able, depending := ability(true)
	s.play("a", 0, both(claiming, depending))
	s.next("a", "holds")
	able.Set(false, noCarrier)
	if e := s.next("a", "ends"); e.why.Error() != noCarrier {
		t.Errorf("want the reason, got %v", e.why)
	}
	s.next("a", "gone")
	s.quiet(time.Second)
	able.Set(true, "")
	s.next("a", "holds")
}
