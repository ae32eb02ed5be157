package election_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/election"
	"berth/internal/journal"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const (
	poolPrefix = prefix + "pool/"
	slot       = "192.0.2.1"
)

// pooled makes a campaign one for an address of the pool.
func pooled(m *election.Member, c *election.Campaign) {
	m.PoolPrefix = poolPrefix
	c.Pool, c.Instance = true, slot
}

// both applies two changes.
func both(first, second func(*election.Member, *election.Campaign)) func(*election.Member, *election.Campaign) {
	return func(m *election.Member, c *election.Campaign) { first(m, c); second(m, c) }
}

func (s *stage) keys(c *clientv3.Client, below string) []string {
	s.Helper()
	r, err := c.Get(s.Context(), below, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		s.Fatal(err)
	}
	var keys []string
	for _, kv := range r.Kvs {
		keys = append(keys, strings.TrimPrefix(string(kv.Key), below))
	}
	return keys
}

func TestAnAddressOfThePoolHasOneKeyAndOneHolderAfterTheOther(t *testing.T) {
	s := newStage(t, 3)
	a := s.play("a", 300*time.Millisecond, pooled)
	first := s.next("a", "holds")
	b := s.play("b", 0, pooled)
	if st := b.until(vrrp.Backup); st.Owner != "a" {
		t.Errorf("want b to know that a is the owner, got %+v", st)
	}
	c := s.etcd()
	if got := s.keys(c, poolPrefix); len(got) != 1 || got[0] != "held/"+slot {
		t.Errorf("want held/%s alone, got %v", slot, got)
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
	if got := s.keys(c, prefix); fmt.Sprint(got) != fmt.Sprint([]string{"pool/held/" + slot, "pool/released/" + slot}) {
		t.Errorf("want all keys below the pool, got %v", got)
	}
}

// A member that takes an address next may have had no campaign for the address when its
// key vanished.
func TestAMemberThatComesToAnAddressOfThePoolWaitsForItsFormerHolder(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	const long = 8 * time.Second
	lease, err := c.Grant(t.Context(), int64(long/time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, c, poolPrefix+"held/"+slot, `{"member":"former"}`, lease.ID); err != nil {
		t.Fatal(err)
	}
	able, depending := ability(false)
	s.play("b", 0, both(pooled, depending)).until(vrrp.Fault)
	other := s.play("c", 0, both(pooled, func(_ *election.Member, c *election.Campaign) { c.Instance = "192.0.2.2" }))
	s.next("c", "holds")
	_ = other
	s.quiet(1500 * time.Millisecond)
	revoked := time.Now()
	if _, err := c.Revoke(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	able.Set(true, "")
	if took := s.next("b", "holds").at.Sub(revoked); took < long-100*time.Millisecond {
		t.Errorf("want b to wait for %v, it took %v", long, took)
	}
}

func TestAnAdoptedKeyOfThePoolIsTakenOn(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, pooled)
	held := s.next("a", "holds")
	lease := <-a.leased
	go a.stop(election.ErrLeave)
	s.next("a", "ends")
	s.next("a", "gone")
	a.stop(nil)
	s.play("b", 0, pooled).until(vrrp.Backup)
	s.play("a", 0, both(pooled, func(m *election.Member, _ *election.Campaign) { m.Adopt = lease }))
	if again := s.next("a", "holds"); again.Token != held.Token {
		t.Errorf("want the same token %d, got %d", held.Token, again.Token)
	}
}

func TestAnAdoptedKeyOfThePoolWithoutACampaignIsGivenUp(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, pooled)
	s.next("a", "holds")
	lease := <-a.leased
	go a.stop(election.ErrLeave)
	s.next("a", "ends")
	s.next("a", "gone")
	a.stop(nil)
	s.play("a", 0, both(pooled, func(m *election.Member, c *election.Campaign) { m.Adopt, c.Instance = lease, "192.0.2.2" }))
	s.next("a", "holds")
	s.play("b", 0, pooled)
	s.next("b", "holds")
}

func TestAKeyOfAPersonKeepsAnAddressOfThePoolFree(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	if _, err := c.Put(t.Context(), poolPrefix+"held/"+slot, "reserved"); err != nil {
		t.Fatal(err)
	}
	b := s.play("b", 0, pooled)
	if st := b.until(vrrp.Backup); !strings.Contains(st.Reason, "did not write") {
		t.Errorf("want the reason, got %+v", st)
	}
	s.quiet(time.Second)
	if _, err := c.Delete(t.Context(), poolPrefix+"held/"+slot); err != nil {
		t.Fatal(err)
	}
	s.next("b", "holds")
}

// showing is a member that shows its keys of the pool.
type showing struct {
	m    *election.Member
	stop func(error)
}

func (s *stage) show(name string, value func() []byte, changed <-chan struct{}, change func(*election.Member)) *showing {
	s.Helper()
	etcd, err := election.NewEtcd(election.Options{Endpoints: s.cluster.Endpoints()})
	if err != nil {
		s.Fatal(err)
	}
	m := &election.Member{Etcd: etcd, Prefix: prefix, PoolPrefix: poolPrefix, Name: name, Identity: "id-" + name, TTL: ttl}
	if change != nil {
		change(m)
	}
	m.Init()
	ctx, cancel := context.WithCancelCause(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error { return m.Present(ctx, value, changed) })
	}()
	w := &showing{m: m, stop: func(cause error) { cancel(cause); <-done; etcd.Close() }}
	s.Cleanup(func() { w.stop(errors.New("test ends")) })
	return w
}

// until waits until the keys of the pool are as wanted.
func (w *showing) until(t *testing.T, what string, want func(election.PoolKeys) bool) election.PoolKeys {
	t.Helper()
	end := time.After(limit)
	for {
		keys, known, changed := w.m.Pool()
		if known && want(keys) {
			return keys
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("want %s, got %+v", what, keys)
		}
	}
}

func TestThePoolShowsItsKeysAtOneRevision(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	weight := make(chan struct{}, 1)
	var value atomic.Value
	value.Store([]byte(`{"weight": 1}`))
	w := s.show("a/1", func() []byte { return value.Load().([]byte) }, weight, nil)
	keys := w.until(t, "its own member", func(k election.PoolKeys) bool { return k.Nodes["a/1"].Own })
	if got := string(keys.Nodes["a/1"].Value); got != `{"weight":1}` {
		t.Errorf("want the value, got %s", got)
	}
	lease, err := c.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Txn(t.Context()).Then(clientv3.OpPut(poolPrefix+"ips/2001:db8::1/64", ""), clientv3.OpPut(poolPrefix+"ips/192.0.2.1", "x"),
		clientv3.OpPut(poolPrefix+"drained/b", ""), clientv3.OpPut(poolPrefix+"held/192.0.2.1", `{"member":"b"}`, clientv3.WithLease(lease.ID))).Commit()
	if err != nil {
		t.Fatal(err)
	}
	keys = w.until(t, "the list", func(k election.PoolKeys) bool { return len(k.IPs) > 0 })
	got := fmt.Sprint(keys.Revision == r.Header.Revision, keys.IPs, keys.Drained, keys.Held)
	if want := fmt.Sprintf("true [192.0.2.1 2001:db8::1/64] map[b:true] map[192.0.2.1:{b false %d 0}]", r.Header.Revision); got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	value.Store([]byte(`{"weight":2}`))
	weight <- struct{}{}
	w.until(t, "the new value", func(k election.PoolKeys) bool { return string(k.Nodes["a/1"].Value) == `{"weight":2}` })
	if _, err := c.Delete(t.Context(), poolPrefix, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	w.until(t, "its key again and nothing else", func(k election.PoolKeys) bool {
		return k.Nodes["a/1"].Own && len(k.IPs)+len(k.Held)+len(k.Drained) == 0
	})
	w.stop(errors.New("asked to leave"))
	if left := s.keys(c, poolPrefix); len(left) != 0 {
		t.Errorf("want nothing left, got %v", left)
	}
}

func TestAMemberOfThePoolComesBackUnderANewLease(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	leased := make(chan clientv3.LeaseID, 10)
	w := s.show("a", func() []byte { return []byte("1") }, nil, func(m *election.Member) { m.Leased = func(l clientv3.LeaseID) { leased <- l } })
	w.until(t, "its own member", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	if _, err := c.Revoke(t.Context(), <-leased); err != nil {
		t.Fatal(err)
	}
	w.until(t, "it to be gone", func(k election.PoolKeys) bool { return !k.Nodes["a"].Own })
	w.until(t, "it to be back", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
}

func TestAMemberOfThePoolLeavesItsKeyToASuccessorOfItsIdentityAlone(t *testing.T) {
	s := newStage(t, 1)
	first := s.show("a", func() []byte { return []byte("1") }, nil, nil)
	first.until(t, "its own member", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	core, said := observer.New(zap.WarnLevel)
	doubled := make(chan bool, 10)
	second := s.show("a", func() []byte { return []byte("2") }, nil, func(m *election.Member) {
		m.Identity, m.Journal = "another", journal.New(zap.New(core))
		m.Doubled = func(instance string, on bool) { doubled <- on && instance == election.PoolInstance }
	})
	select {
	case on := <-doubled:
		if !on || said.FilterField(zap.String("code", "member-doubled")).Len() != 1 {
			t.Errorf("want it told once, got %v", said.All())
		}
	case <-time.After(limit):
		t.Fatal("want it told that two hosts have one name")
	}
	if k := second.until(t, "the first", func(k election.PoolKeys) bool { return len(k.Nodes) == 1 }); string(k.Nodes["a"].Value) != "1" || k.Nodes["a"].Own {
		t.Errorf("want the key of the first host, got %+v", k)
	}
	third := s.show("a", func() []byte { return []byte("3") }, nil, nil)
	third.until(t, "its key", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	first.stop(election.ErrLeave)
	third.stop(errors.New("asked to leave"))
	second.until(t, "its key at last", func(k election.PoolKeys) bool { return k.Nodes["a"].Own })
	if on := <-doubled; on {
		t.Error("want the end told")
	}
}
