package election_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/election"
	"berth/vrrp"
)

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
	if err := election.Takeover(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "c"}); err != nil {
		t.Fatal(err)
	}
	if e := s.next("a", "ends"); !errors.Is(e.why, election.ErrHandOver) {
		t.Errorf("want a hand-over, got %v", e.why)
	}
	gone := s.next("a", "gone")
	// Not even for b, which may have been the first in the queue for a moment.
	if took := s.next("c", "holds").at.Sub(gone.at); took > ttl/2 {
		t.Errorf("want c not to wait, it took %v", took)
	}
	if err := election.Takeover(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "absent"}); err == nil {
		t.Error("want a refusal to hand over to a member that is not there")
	}
	if err := election.Release(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "c"}); err != nil {
		t.Fatal(err)
	}
	s.next("c", "ends")
	s.next("c", "gone")
	if e := <-s.events; e.what != "holds" || e.player == "c" {
		t.Errorf("want another one to hold, got that %s %s", e.player, e.what)
	}
	if err := election.Release(t.Context(), etcd, prefix, nil, "other", election.Asker{Member: "c"}); err == nil || !strings.Contains(err.Error(), "no other member takes part") {
		t.Errorf("want a refusal to hand over where no other member is, got %v", err)
	}
}

// identified gives a player an identity, and tells what it is told of doubles.
func identified(identity string, told chan<- bool) func(*election.Member, *election.Campaign) {
	return func(m *election.Member, _ *election.Campaign) {
		m.Identity, m.Doubled = identity, func(_ string, on bool) { told <- on }
	}
}

func TestTwoHostsOfOneNameAreToldOnBothAndHandOverByIdentity(t *testing.T) {
	s := newStage(t, 1)
	one, two := make(chan bool, 10), make(chan bool, 10)
	begun := time.Now()
	s.play("vm", 0, identified("1111", one))
	s.next("vm", "holds")
	second := s.play("vm", 0, identified("2222", two))
	second.until(vrrp.Backup)
	etcd := s.asker()
	release := election.Release(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "vm", Identity: "2222"})
	if release == nil || !strings.Contains(release.Error(), "vm (identity 1111) is the owner of api") {
		t.Errorf("want a refusal that names the owner, got %v", release)
	}
	for _, told := range []chan bool{one, two} {
		select {
		case on := <-told:
			if took := time.Since(begun); !on || took < ttl {
				t.Errorf("want it told after %v, got %t after %v", ttl, on, took)
			}
		case <-time.After(limit):
			t.Error("want it told on both hosts")
		}
	}
	if owners, err := etcd.Owners(t.Context(), prefix, nil); err != nil || !owners[instance].Doubled {
		t.Errorf("want it shown, got %v, %v", owners, err)
	}
	if err := election.Takeover(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "vm"}); err == nil || !strings.Contains(err.Error(), "two hosts have the member name vm") {
		t.Errorf("want a refusal without an identity, got %v", err)
	}
	if err := election.Takeover(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "vm", Identity: "2222"}); err != nil {
		t.Fatal(err)
	}
	if e := s.next("vm", "ends"); !errors.Is(e.why, election.ErrHandOver) {
		t.Errorf("want a hand-over, got %v", e.why)
	}
	s.next("vm", "gone")
	s.next("vm", "holds")
	if st := second.until(vrrp.Master); st.Token == 0 {
		t.Error("want the second host to be the owner")
	}
	second.stop(errors.New("another name"))
	select {
	case on := <-one:
		if on {
			t.Error("want its end to be told")
		}
	case <-time.After(limit):
		t.Error("want its end to be told")
	}
}

func TestARebootOrACloneIsNotASecondHostOfTheName(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	lease, err := c.Grant(t.Context(), int64(ttl/time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{`{"member":"vm","identity":"0000"}`, `{"member":"vm"}`} { // the second of an older berth
		key := fmt.Sprintf("%selections/%s/%x", prefix, instance, len(value))
		if err := put(t, c, key, value, lease.ID); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan bool, 10)
	s.play("vm", 0, identified("1111", told))
	s.next("vm", "holds")
	s.quiet(time.Second)
	if len(told) != 0 {
		t.Error("want nothing to be told of a lease that ends")
	}
}

func TestAMemberThatIsNotTheOwnerHasNothingToRelease(t *testing.T) {
	s := newStage(t, 1)
	s.play("a", 0, nil)
	s.next("a", "holds")
	s.play("b", 0, nil).until(vrrp.Backup)
	err := election.Release(t.Context(), s.asker(), prefix, nil, instance, election.Asker{Member: "b"})
	if err == nil || !strings.Contains(err.Error(), "a is the owner of api, not b of this host") {
		t.Errorf("want an error that names the owner, got %v", err)
	}
}
