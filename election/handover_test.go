package election_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/election"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
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
	refuses(t, election.Takeover(t.Context(), etcd, prefix, nil, instance, election.Asker{Member: "absent"}), "member absent of this host does not take part")
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

// refuses fails unless an error is a refusal with a reason.
func refuses(t *testing.T, err error, reason string) {
	t.Helper()
	var refused *election.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, reason) {
		t.Errorf("want a refusal because %s, got %v", reason, err)
	}
}

// The process of a candidate was killed, and its key stands until its lease ends.
func TestNothingIsHandedOverToOrBehindAMemberThatDoesNotRun(t *testing.T) {
	s := newStage(t, 1)
	s.play("a", 0, nil)
	s.next("a", "holds")
	s.leftBy("dead", s.etcd(), 5*ttl)
	dead := time.Now()
	s.play("c", 0, nil).until(vrrp.Backup)
	s.quiet(time.Until(dead.Add(1200 * time.Millisecond)))
	e := s.asker()
	refuses(t, election.Release(t.Context(), e, prefix, nil, instance, election.Asker{Member: "a"}), "member dead, which is in the queue of api, has not renewed its lease for")
	refuses(t, election.Takeover(t.Context(), e, prefix, nil, instance, election.Asker{Member: "c"}), "member dead, which is in the queue of api, has not renewed its lease for")
	refuses(t, election.Takeover(t.Context(), e, prefix, nil, instance, election.Asker{Member: "dead"}), "has not renewed its lease")
	s.quiet(time.Second) // the owner goes on
}

func TestNothingIsHandedOverToAMemberThatHasBecomeUnable(t *testing.T) {
	s := newStage(t, 1)
	lease := <-s.play("a", 0, nil).leased
	s.next("a", "holds")
	able, depending := ability(true)
	s.play("b", 0, depending).until(vrrp.Backup)
	c := s.etcd()
	left := s.keys(c, prefix+"elections/")
	able.Set(false, noCarrier)
	s.untilGone(c, prefix+"elections/"+left[slices.IndexFunc(left, func(k string) bool { return !strings.HasSuffix(k, fmt.Sprintf("%x", int64(lease))) })])
	e := s.asker()
	refuses(t, election.Release(t.Context(), e, prefix, nil, instance, election.Asker{Member: "a"}), "no other member takes part in the election of api; these take part: a")
	refuses(t, election.Takeover(t.Context(), e, prefix, nil, instance, election.Asker{Member: "b"}), "member b of this host does not take part in the election of api; these take part: a")
	s.quiet(time.Second)
}

// The member gives up in the moment in which the owner does.
func TestAnOwnerComesBackIfTheMemberThatWasToTakeOverBecomesUnable(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	s.play("a", 0, nil)
	s.next("a", "holds")
	lease := s.leftBy("b", c, 5*ttl)
	key := fmt.Sprintf("%selections/%s/%x", prefix, instance, int64(lease))
	r, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	asked := c.Watch(clientv3.WithRequireLeader(t.Context()), prefix+"wanted/"+instance, clientv3.WithCreatedNotify())
	<-asked
	begun, answer := time.Now(), make(chan error, 1)
	e := s.asker()
	go func() {
		answer <- election.Release(t.Context(), e, prefix, nil, instance, election.Asker{Member: "a"})
	}()
	<-asked
	s.next("a", "ends")
	s.next("a", "gone")
	withdrawn := fmt.Sprintf(`{"token":%d,"member":"b"}`, r.Kvs[0].CreateRevision)
	if _, err := c.Txn(t.Context()).Then(clientv3.OpDelete(key), clientv3.OpPut(prefix+"withdrawn/"+instance, withdrawn)).Commit(); err != nil {
		t.Fatal(err)
	}
	s.next("a", "holds")
	refuses(t, <-answer, "no other member takes part")
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("want the refusal at once, it took %v", took)
	}
}
