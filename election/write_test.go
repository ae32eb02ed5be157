package election_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/etcdtest"
	"berth/vrrp"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// together is a member with many campaigns that begin and end at once.
func (s *stage) together(o election.Options, name string, campaigns []election.Campaign) (held chan string, stop func()) {
	s.Helper()
	etcd, err := election.NewEtcd(o)
	if err != nil {
		s.Fatal(err)
	}
	m := &election.Member{Etcd: etcd, Prefix: prefix, PoolPrefix: poolPrefix, Name: name, TTL: ttl}
	m.Init()
	ctx, cancel := context.WithCancelCause(s.Context())
	held = make(chan string, len(campaigns))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			if _, err := m.Begun(ctx); err != nil {
				return err
			}
			var all sync.WaitGroup
			for _, c := range campaigns {
				all.Go(func() {
					_ = m.Campaign(ctx, c, func(ctx context.Context, _ election.Grant) error {
						held <- c.Instance
						<-ctx.Done()
						return nil
					})
				})
			}
			all.Wait()
			return context.Cause(ctx)
		})
	}()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(errors.New("asked to leave")); <-done; etcd.Close() }) }
	s.Cleanup(stop)
	return held, stop
}

// heldBy waits until a number of instances is held.
func (s *stage) heldBy(held chan string, n int) {
	s.Helper()
	for i := range n {
		select {
		case <-held:
		case <-time.After(limit):
			s.Fatalf("want %d held, got %d", n, i)
		}
	}
}

func TestManyInstancesEnterAndResignInFewRequests(t *testing.T) {
	t.Parallel() // or the tests after this one would wait for its rows
	const instances = 200
	for _, pool := range []bool{false, true} {
		for _, guarded := range []bool{false, true} {
			t.Run(fmt.Sprintf("pool %t, authentication %t", pool, guarded), func(t *testing.T) {
				var s *stage
				var o election.Options
				if guarded {
					s, o = newGuardedStage(t, 1)
				} else {
					s = newStage(t, 1)
					o = election.Options{Endpoints: s.cluster.Endpoints()}
				}
				var campaigns []election.Campaign
				for i := range instances {
					campaigns = append(campaigns, election.Campaign{Pool: pool, Instance: fmt.Sprintf("192.0.2.%d", i)})
				}
				before := s.calls("KV", "Txn")
				held, stop := s.together(o, "a", campaigns)
				s.heldBy(held, instances)
				entered := s.calls("KV", "Txn")
				stop()
				resigned := s.calls("KV", "Txn")
				t.Logf("%d requests to enter, %d to resign", entered-before, resigned-entered)
				if n := entered - before; n > instances/10 {
					t.Errorf("want few requests to enter, got %d", n)
				}
				if n := resigned - entered; n > instances/10 {
					t.Errorf("want few requests to resign, got %d", n)
				}
				c := s.root()
				if left, err := c.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || left.Count != instances {
					t.Errorf("want a record of each release, got %d keys, %v", left.Count, err)
				}
			})
		}
	}
}

func TestAnEtcdThatTakesFewerOperationsGetsSmallerRequests(t *testing.T) {
	t.Parallel()
	s := &stage{T: t, cluster: start(t, 1, etcdtest.Options{MaxTxnOps: 20}), events: make(chan event, 100)}
	var campaigns []election.Campaign
	for i := range 100 {
		campaigns = append(campaigns, election.Campaign{Instance: fmt.Sprintf("instance %d", i)})
	}
	held, stop := s.together(election.Options{Endpoints: s.cluster.Endpoints()}, "a", campaigns)
	s.heldBy(held, len(campaigns))
	stop()
	if left, err := s.root().Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || left.Count != int64(len(campaigns)) {
		t.Errorf("want a record of each release, got %d keys, %v", left.Count, err)
	}
}

func TestAnAddressThatAnotherMemberHasFailsNoOther(t *testing.T) {
	s := newStage(t, 1)
	o := election.Options{Endpoints: s.cluster.Endpoints()}
	var campaigns []election.Campaign
	for i := range 20 {
		campaigns = append(campaigns, election.Campaign{Pool: true, Instance: fmt.Sprintf("192.0.2.%d", i)})
	}
	held, stop := s.together(o, "a", campaigns[7:8])
	s.heldBy(held, 1)
	others, _ := s.together(o, "b", campaigns)
	s.heldBy(others, len(campaigns)-1)
	before := s.calls("KV", "Txn")
	<-time.After(time.Second)
	if n := s.calls("KV", "Txn") - before; n > 1 {
		t.Errorf("want the address not asked for while another member has it, got %d requests", n)
	}
	stop()
	s.heldBy(others, 1)
}

// The user of yaim may touch nothing but the keys of its pool.
func TestAMemberMayBeLimitedToTheKeysOfItsPool(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	root := s.root()
	const limited = "limited"
	for _, err := range []error{
		second(root.RoleAdd(t.Context(), limited)),
		second(root.RoleGrantPermission(t.Context(), limited, poolPrefix, clientv3.GetPrefixRangeEnd(poolPrefix), clientv3.PermissionType(clientv3.PermReadWrite))),
		second(root.UserAdd(t.Context(), limited, password)),
		second(root.UserGrantRole(t.Context(), limited, limited)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o.Username = limited
	change := both(pooled, func(m *election.Member, _ *election.Campaign) { m.Prefix = poolPrefix })
	a := s.playWith(o, "a", 0, change)
	s.next("a", "holds")
	s.playWith(o, "b", 0, change).until(vrrp.Backup) // its log-in is no part of what is measured
	go a.stop(errors.New("asked to leave"))
	s.next("a", "ends")
	gone := s.next("a", "gone")
	if took := s.next("b", "holds").at.Sub(gone.at); took > ttl/2 {
		t.Errorf("want b to own at once, it took %v", took)
	}
	if left, err := root.Get(t.Context(), "", clientv3.WithPrefix()); err != nil || len(left.Kvs) != 2 {
		t.Errorf("want two keys, got %v, %v", left, err)
	}
}

// second returns the error of a call.
func second[T any](_ T, err error) error { return err }

// elsewhere gives the instance a place of its own.
const elsewhere = "/elsewhere/api/"

func placed(m *election.Member, _ *election.Campaign) {
	m.Places = map[string]string{instance: elsewhere}
}

func TestAnInstanceCanHaveItsCandidatesElsewhere(t *testing.T) {
	s := newStage(t, 3)
	a := s.play("a", 0, placed)
	s.next("a", "holds")
	s.play("b", 0, placed).until(vrrp.Backup)
	c := s.etcd()
	if got := s.keys(c, elsewhere); len(got) != 2 || got[0] != fmt.Sprintf("%x", int64(<-a.leased)) && got[1] == "" {
		t.Errorf("want two candidates, got %v", got)
	}
	if got := s.keys(c, prefix); len(got) != 0 {
		t.Errorf("want nothing below the prefix, got %v", got)
	}
	s.quiet(1500 * time.Millisecond) // so that the lease is sampled
	go a.stop(errors.New("asked to leave"))
	s.next("a", "ends")
	gone := s.next("a", "gone")
	if took := s.next("b", "holds").at.Sub(gone.at); took > ttl/2 {
		t.Errorf("want b to read the record and to own at once, it took %v", took)
	}
	if got := s.keys(c, prefix); fmt.Sprint(got) != "[released/api]" {
		t.Errorf("want the record below the prefix, got %v", got)
	}
}

func TestADeletedKeyElsewhereMakesTheNextOwnerWait(t *testing.T) {
	s := newStage(t, 1)
	a := s.play("a", 0, placed)
	s.next("a", "holds")
	s.play("b", 0, placed).until(vrrp.Backup)
	s.quiet(1500 * time.Millisecond)
	deleted := time.Now()
	if _, err := s.etcd().Delete(t.Context(), fmt.Sprintf("%s%x", elsewhere, int64(<-a.leased))); err != nil {
		t.Fatal(err)
	}
	s.next("a", "ends")
	s.next("a", "gone")
	if took := s.next("b", "holds").at.Sub(deleted); took < ttl-100*time.Millisecond {
		t.Errorf("want b to wait for %v, it took %v", ttl, took)
	}
}
