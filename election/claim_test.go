package election_test

import (
	"context"
	"errors"
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

// tally is which players hold, and for how long no player did at most.
type tally struct {
	s       *stage
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

// during takes events for d.
func (l *tally) during(d time.Duration) {
	for end := time.After(d); ; {
		select {
		case e := <-l.s.events:
			l.take(e)
		case <-end:
			if len(l.holding) == 0 {
				l.longest = max(l.longest, time.Since(l.since))
			}
			return
		}
	}
}

// one waits until exactly one holds.
func (l *tally) one(what string) {
	l.s.Helper()
	for end := time.After(limit); ; {
		settled := time.After(ttl / 2)
		if len(l.holding) != 1 {
			settled = nil
		}
		select {
		case e := <-l.s.events:
			l.take(e)
		case <-settled:
			return
		case <-end:
			l.s.Fatalf("%s: want one owner, got %v", what, l.holding)
		}
	}
}

// However etcd is lost, a healthy host has the instance after a lease and a second, and
// one alone has it again after the heal.
func TestWithClaimThereIsAnOwnerHoweverEtcdIsLost(t *testing.T) {
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
	for _, pool := range []bool{false, true} {
		for _, row := range rows {
			name := map[bool]string{false: "instance: ", true: "address of the pool: "}[pool] + row.name
			t.Run(name, func(t *testing.T) {
				var s *stage
				var o election.Options
				if row.name == "refusing the password" {
					s, o = newGuardedStage(t, row.members)
				} else {
					s = newStage(t, row.members)
					o = election.Options{Endpoints: s.cluster.Endpoints()}
				}
				change := claiming
				if pool {
					change = both(claiming, pooled)
				}
				able := map[string]*condition.Value{}
				for _, name := range []string{"a", "b", "sick"} {
					v, depending := ability(name != "sick")
					able[name] = v
					s.playWith(o, name, 0, both(change, depending))
				}
				l := &tally{s: s, holding: map[string]bool{}, since: time.Now()}
				l.one("at first")
				var owner string
				for owner = range l.holding {
				}
				row.lose(t, s)
				l.longest = 0
				l.during(ttl + 3*time.Second)
				// The owner of before falls ill while etcd is lost.
				able[owner].Set(false, "ill")
				l.during(ttl + 2*time.Second)
				if l.holding["sick"] || l.holding[owner] || len(l.holding) != 1 {
					t.Errorf("want the healthy host to be the owner, got %v", l.holding)
				}
				row.heal(t, s)
				able[owner].Set(true, "")
				l.one("after the heal")
				if most := ttl + time.Second; l.longest > most {
					t.Errorf("want no more than %v without an owner, got %v", most, l.longest)
				}
			})
		}
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
