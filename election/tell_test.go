package election_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/election"
	"berth/internal/journal"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// teller is a member that tells of itself and reads what the others tell.
type teller struct {
	m      *election.Member
	value  atomic.Pointer[string]
	asked  atomic.Int64 // how often for the value
	change chan struct{}
	beside chan func(context.Context) error // what runs beside it
	stop   func(error)
}

func (s *stage) tell(o election.Options, name string, change func(*election.Member)) *teller {
	s.Helper()
	etcd, err := election.NewEtcd(o)
	if err != nil {
		s.Fatal(err)
	}
	w := &teller{change: make(chan struct{}, 1), beside: make(chan func(context.Context) error)}
	w.m = &election.Member{Etcd: etcd, Prefix: prefix, PoolPrefix: prefix, Name: name, Identity: "id-" + name, TTL: ttl}
	if change != nil {
		change(w.m)
	}
	w.say(`"first"`)
	<-w.change
	w.m.Init()
	ctx, cancel := context.WithCancelCause(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.m.Run(ctx, func(ctx context.Context) error {
			var beside sync.WaitGroup
			defer beside.Wait()
			beside.Go(func() {
				select {
				case run := <-w.beside:
					_ = run(ctx)
				case <-ctx.Done():
				}
			})
			return w.m.TellMember(ctx, func() []byte { w.asked.Add(1); return []byte(*w.value.Load()) }, w.change)
		})
	}()
	w.stop = func(cause error) { cancel(cause); <-done; etcd.Close() }
	s.Cleanup(func() { w.stop(errors.New("test ends")) })
	return w
}

func (w *teller) say(value string) {
	w.value.Store(&value)
	select {
	case w.change <- struct{}{}:
	default:
	}
}

// until waits until the cluster is as wanted.
func (w *teller) until(t *testing.T, what string, want func(election.ClusterKeys) bool) election.ClusterKeys {
	t.Helper()
	for end := time.After(limit); ; {
		keys, known, changed := w.m.Cluster()
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

// tells reports whether a member tells a value.
func tells(name, value string) func(election.ClusterKeys) bool {
	return func(k election.ClusterKeys) bool { return string(k.Members[name].Value) == value }
}

// The pool has the prefix of the elections here, and names that begin like others.
func TestEachMemberTellsOfItselfAndReadsWhatAllTell(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	o := election.Options{Endpoints: s.cluster.Endpoints()}
	lb1, lb10, odd := s.tell(o, "lb1", nil), s.tell(o, "lb10", nil), s.tell(o, "nodes/lb1", nil)
	before := time.Now()
	for _, w := range []*teller{lb1, lb10, odd} {
		w.until(t, "three members", func(k election.ClusterKeys) bool { return len(k.Members) == 3 })
	}
	lb10.say(`{"is": 2}`)
	keys := lb1.until(t, "the new value", tells("lb10", `{"is":2}`))
	if a, b := keys.Members["lb1"], keys.Members["nodes/lb1"]; !a.Own || string(a.Value) != `"first"` || b.Own || a.Left <= 0 || a.Left > ttl || before.Sub(a.Since) > limit {
		t.Errorf("want the first to be its own, got %+v, %+v", a, b)
	}
	if keys.Pool == nil || len(keys.Pool.Nodes)+len(keys.Pool.Held)+len(keys.Pool.IPs) != 0 {
		t.Errorf("want nothing in the pool, got %+v", keys.Pool)
	}
	s.eventually("to be told how long the lease of another lasts", func() bool {
		keys, _, _ := lb1.m.Cluster()
		return keys.Members["lb10"].Left > 0
	})
	if _, err := c.Delete(t.Context(), prefix+"members/lb10"); err != nil {
		t.Fatal(err)
	}
	lb1.until(t, "it to be gone", func(k election.ClusterKeys) bool { return len(k.Members) == 2 })
	lb1.until(t, "it to be back", tells("lb10", `{"is":2}`))
	lb10.stop(errors.New("asked to leave"))
	lb1.until(t, "it to be gone", func(k election.ClusterKeys) bool { return len(k.Members) == 2 && k.Members["lb10"].Value == nil })
	odd.stop(election.ErrLeave)
	if got := s.keys(c, prefix); fmt.Sprint(got) != "[members/lb1 members/nodes%2Flb1]" {
		t.Errorf("want the key left to a successor, got %v", got)
	}
}

// A value that changes all the time costs one write a second, and one that stays none. The
// value of a member with a thousand addresses that move is long, and is not made more often.
func TestAMemberTellsOfItselfOnceInASecondAtMost(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	w := s.tell(election.Options{Endpoints: s.cluster.Endpoints()}, "a", nil)
	w.until(t, "its own member", tells("a", `"first"`))
	begun, last := time.Now(), 0
	s.eventually("the time to be over", func() bool {
		last++
		w.say(strconv.Itoa(last))
		return time.Since(begun) > 2500*time.Millisecond
	})
	w.until(t, "the last value", tells("a", strconv.Itoa(last)))
	r, err := c.Get(t.Context(), prefix+"members/a")
	if err != nil || len(r.Kvs) != 1 {
		t.Fatal(r, err)
	}
	if got, most := r.Kvs[0].Version-1, int64(time.Since(begun)/time.Second)+1; got > most {
		t.Errorf("want %d writes at most, got %d", most, got)
	}
	if got, most := w.asked.Load(), 3*(int64(time.Since(begun)/time.Second)+1); got > most {
		t.Errorf("want the value asked for %d times at most after %d changes, it was %d times", most, last, got)
	}
	before := s.calls("KV", "Txn")
	s.quiet(2 * time.Second)
	if got := s.calls("KV", "Txn") - before; got != 0 {
		t.Errorf("want nothing written at rest, got %d requests", got)
	}
}

func TestAMemberTellsOfItselfUnderANewLease(t *testing.T) {
	s := newStage(t, 1)
	leased := make(chan clientv3.LeaseID, 10)
	w := s.tell(election.Options{Endpoints: s.cluster.Endpoints()}, "a", func(m *election.Member) { m.Leased = func(l clientv3.LeaseID) { leased <- l } })
	w.until(t, "its own member", tells("a", `"first"`))
	if _, err := s.etcd().Revoke(t.Context(), <-leased); err != nil {
		t.Fatal(err)
	}
	w.until(t, "it to be gone", func(k election.ClusterKeys) bool { return len(k.Members) == 0 })
	w.until(t, "it to be back", tells("a", `"first"`))
}

// A missing permission to tell ends nothing else, and is said once.
func TestARefusalToTellEndsNothingElse(t *testing.T) {
	s, o := newGuardedStage(t, 1)
	s.permit(prefix+"elections/", prefix+"released/", prefix+"withdrawn/")
	root := s.root()
	if _, err := root.RoleGrantPermission(t.Context(), "limited", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermRead)); err != nil {
		t.Fatal(err)
	}
	core, said := observer.New(zap.InfoLevel)
	w := s.tell(o, "a", func(m *election.Member) { m.Journal = journal.New(zap.New(core)) })
	held := make(chan struct{})
	w.beside <- func(ctx context.Context) error {
		return w.m.Campaign(ctx, election.Campaign{Instance: instance}, func(ctx context.Context, _ election.Grant) error {
			close(held)
			<-ctx.Done()
			return nil
		})
	}
	select {
	case <-held:
	case <-time.After(limit):
		t.Fatal("want it elected")
	}
	refused := func() int {
		return said.FilterField(zap.String("code", "etcd-member-refused")).Len()
	}
	s.eventually("the refusal told", func() bool { return refused() > 0 })
	s.quiet(6 * time.Second) // and tried again meanwhile
	if n := refused(); n != 1 {
		t.Errorf("want it told once, got %d: %v", n, said.All())
	}
	if _, other, ok := w.m.Owner(instance); other || !ok {
		t.Error("want it to own still")
	}
	s.permit(prefix + "members/")
	w.until(t, "its own member", tells("a", `"first"`))
	s.eventually("the end told", func() bool { return refused() > 1 })
}

func TestTheClusterIsReadOnceWithoutAMember(t *testing.T) {
	s := newStage(t, 1)
	o := election.Options{Endpoints: s.cluster.Endpoints()}
	first, second := s.tell(o, "a", nil), s.tell(o, "b", nil)
	for _, w := range []*teller{first, second} {
		w.beside <- func(ctx context.Context) error {
			return w.m.Campaign(ctx, election.Campaign{Instance: "api", Addresses: []string{"192.0.2.1/32"}}, func(ctx context.Context, _ election.Grant) error {
				<-ctx.Done()
				return nil
			})
		}
		first.until(t, "another candidate", func(k election.ClusterKeys) bool {
			q := k.Instances["api"]
			return len(q) > 0 && q[len(q)-1].Member == w.m.Name && string(k.Members[w.m.Name].Value) == `"first"`
		})
	}
	etcd, err := election.NewEtcd(o)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	k, err := etcd.Cluster(t.Context(), prefix, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	q := k.Instances["api"]
	if len(q) != 2 || q[0].Member != "a" || q[1].Member != "b" || q[0].Token >= q[1].Token || q[0].Left <= 0 || q[0].Own || time.Since(q[0].Since) > limit || fmt.Sprint(q[0].Addresses) != "[192.0.2.1/32]" {
		t.Errorf("want the owner first, got %+v", q)
	}
	if len(k.Members) != 2 || string(k.Members["b"].Value) != `"first"` || k.Members["b"].Left <= 0 || k.Pool != nil || k.Revision == 0 {
		t.Errorf("want two members, got %+v", k)
	}
	if k, err = etcd.Cluster(t.Context(), prefix, poolPrefix, nil); err != nil || k.Pool == nil {
		t.Errorf("want the pool, got %+v, %v", k, err)
	}
	if len(k.Released) > 0 {
		t.Errorf("nothing was given up, got %+v", k.Released)
	}
	first.stop(errors.New("the member is stopped"))
	second.until(t, "the next owner, with what the former one gave up", func(k election.ClusterKeys) bool {
		now := k.Instances["api"]
		return len(now) == 1 && now[0].Member == "b" && k.Released["api"] == q[0].Token
	})
}

// An address that is added with etcdctl and one that is added by Swap are told alike.
func TestAddedAddressesAreToldAndSwapped(t *testing.T) {
	s := newStage(t, 1)
	c := s.etcd()
	o := election.Options{Endpoints: s.cluster.Endpoints()}
	w := s.tell(o, "lb1", nil)
	etcd, err := election.NewEtcd(o)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	until := func(want string) {
		t.Helper()
		for end := time.After(limit); ; {
			keys, known, changed := w.m.Added()
			var got []string
			for name, v := range keys.Values {
				got = append(got, fmt.Sprintf("%s=%s@%d", name, v.Value, v.Revision))
			}
			slices.Sort(got)
			if known && fmt.Sprint(got) == want {
				return
			}
			select {
			case <-changed:
			case <-end:
				t.Fatalf("want %s, got %v", want, got)
			}
		}
	}
	until("[]")
	swap := func(address string, was int64, value []byte) (int64, bool) {
		t.Helper()
		revision, done, err := etcd.Swap(t.Context(), election.AddedKey(prefix, "lb1", address), was, value)
		if err != nil {
			t.Fatal(err)
		}
		return revision, done
	}
	if _, err := c.Put(t.Context(), prefix+"added/lb10/192.0.2.9", "no"); err != nil {
		t.Fatal(err)
	}
	r, err := c.Put(t.Context(), prefix+"added/lb1/192.0.2.1", "by hand")
	if err != nil {
		t.Fatal(err)
	}
	one := r.Header.Revision
	until(fmt.Sprintf("[192.0.2.1=by hand@%d]", one))
	two, done := swap("2001:db8::1", 0, []byte("{}"))
	if !done {
		t.Fatal("want it put")
	}
	until(fmt.Sprintf("[192.0.2.1=by hand@%d 2001:db8::1={}@%d]", one, two))
	if revision, done := swap("2001:db8::1", 0, []byte("{}")); done || revision != two {
		t.Errorf("want a key that is there left, got %t at %d", done, revision)
	}
	if revision, done := swap("192.0.2.1", one-1, nil); done || revision != one {
		t.Errorf("want a key of another revision left, got %t at %d", done, revision)
	}
	if revision, done := swap("192.0.2.7", 3, nil); done || revision != 0 {
		t.Errorf("want a key that is absent not deleted, got %t at %d", done, revision)
	}
	if _, done := swap("192.0.2.1", one, nil); !done {
		t.Error("want it deleted")
	}
	until(fmt.Sprintf("[2001:db8::1={}@%d]", two))
	three, done := swap("2001:db8::1", two, []byte(""))
	if !done {
		t.Error("want it changed")
	}
	until(fmt.Sprintf("[2001:db8::1=@%d]", three))
}

// An answer that is lost makes the request go out twice.
func TestASwapIsDoneAlthoughItsFirstAnswerIsLost(t *testing.T) {
	s := newStage(t, 3)
	o := election.Options{Endpoints: s.cluster.Endpoints()}
	third, err := clientv3.New(clientv3.Config{Endpoints: o.Endpoints[2:]})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	key, was := election.AddedKey(prefix, "a", "192.0.2.1"), int64(0)
	for _, value := range [][]byte{[]byte("1"), []byte("2"), nil} {
		etcd, err := election.NewEtcd(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := etcd.Cluster(t.Context(), prefix, "", nil); err != nil { // the first endpoint is connected
			t.Fatal(err)
		}
		watching, cancel := context.WithCancel(t.Context())
		changes := third.Watch(watching, key, clientv3.WithCreatedNotify())
		<-changes
		s.cluster.Member(0).Delay(400 * time.Millisecond)
		s.cluster.Member(1).Hang()
		lost := make(chan struct{})
		go func() {
			defer close(lost)
			<-changes
			s.cluster.Member(0).Hang() // before its answer has come through
		}()
		revision, done, err := etcd.Swap(t.Context(), key, was, value)
		<-lost
		if err != nil || !done {
			t.Errorf("want %q put, or the key deleted, got %t at %d, %v", value, done, revision, err)
		}
		for i := range 2 {
			if err := s.cluster.Member(i).Heal(); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		etcd.Close()
		was = revision
	}
}
