package election

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestAKeyIsTakenForWhatItIs(t *testing.T) {
	apart := keyspace{prefix: "/berth/", pool: "/berth/pool/", places: map[string]string{"db": "/db/leader/"}}
	one := keyspace{prefix: "/p/", pool: "/p/"}
	for _, row := range []struct {
		keys keyspace
		key  string
		want string
	}{
		{apart, "/berth/elections/a%2Fb/7f", "elections/ {false a/b} 7f"},
		{apart, "/berth/released/a", "released/ {false a} "},
		{apart, "/berth/pool/released/192.0.2.1", "released/ {true 192.0.2.1} "},
		{apart, "/berth/pool/held/2001:db8::1", "held/ {true 2001:db8::1} "},
		{apart, "/berth/pool/held/192.0.2.1/x", "held/ {true 192.0.2.1} x"},
		{apart, "/berth/pool/ips/192.0.2.1/24", "ips/ {true 192.0.2.1/24} "},
		{apart, "/berth/pool/other/x", "pool/ {false other} x"},
		{apart, "/berth/elections/", " {false } "},
		{apart, "/db/leader/7f", "elections/ {false db} 7f"},
		{apart, "/berth/elections/db/7f", " {false } "},
		{apart, "/elsewhere", " {false } "},
		{apart, "/berth/elections/%zz/7f", " {false } "},
		{one, "/p/released/api", "released/ {false api} "},
		{one, "/p/released/192.0.2.1", "released/ {true 192.0.2.1} "},
		{one, "/p/held/192.0.2.1", "held/ {true 192.0.2.1} "},
		{one, "/p/elections/api/7f", "elections/ {false api} 7f"},
		{one, "/p/members/lb1", "members/ {false lb1} "},
		{one, "/p/members/lb10", "members/ {false lb10} "},
		{one, "/p/members/a%2Fb", "members/ {false a/b} "},
		{one, "/p/members/a/b", "members/ {false a} b"},
		{one, "/p/members/lb%31", " {false } "},
		{one, "/p/members/", " {false } "},
		{one, "/p/members", " {false } "},
		{one, "/p/added/lb1/192.0.2.1", "added/ {false lb1} 192.0.2.1"},
		{one, "/p/added/lb10/192.0.2.1", "added/ {false lb10} 192.0.2.1"},
		{one, "/p/added/a%2Fb/2001:db8::1", "added/ {false a/b} 2001:db8::1"},
		{one, "/p/added/lb1/192.0.2.1/32", "added/ {false lb1} 192.0.2.1/32"},
		{one, "/p/added/lb%31/192.0.2.1", " {false } "},
		{one, "/p/added//192.0.2.1", " {false } "},
		{one, "/p/added/lb1", "added/ {false lb1} "},
		{apart, "/berth/members/ips", "members/ {false ips} "},
		{apart, "/berth/added/held/192.0.2.1", "added/ {false held} 192.0.2.1"},
		{apart, "/berth/pool/members/lb1", "pool/ {false members} lb1"},
		{apart, "/berth/pool/added/lb1/192.0.2.1", "pool/ {false added} lb1/192.0.2.1"},
	} {
		dir, about, rest := row.keys.parse(row.key)
		if got := fmt.Sprintf("%s %v %s", dir, about, rest); got != row.want {
			t.Errorf("%s: want %q, got %q", row.key, row.want, got)
		}
	}
	if got, want := apart.spans(), []string{"/berth/", "/db/leader/"}; !slices.Equal(got, want) {
		t.Errorf("want one watch for what lies below another, %v, got %v", want, got)
	}
	if got := one.spans(); !slices.Equal(got, []string{"/p/"}) {
		t.Errorf("want one watch, got %v", got)
	}
}

// A member has what is below its exact name, and a key that a person has written otherwise
// stands for no address that has a key.
func TestAddedAddressesAreThoseOfTheExactMember(t *testing.T) {
	at := func(member, address string) string { return AddedKey("/p/", member, address) }
	all := []string{at("lb1", "192.0.2.1"), at("lb1", "2001:db8::1"), at("lb10", "192.0.2.10"), at("lb", "192.0.2.2"), at("a/b", "192.0.2.3"), at("a", "b/192.0.2.4"),
		at("lb1", "192.0.2.5/32"), "/p/added/lb1/192.0.2.5/32", "/p/added/lb1/192.0.2.6/32", "/p/added/lb1/192.0.2%2E7", "/p/added/lb%31/192.0.2.8", "/p/added//192.0.2.9", "/p/added/lb1/"}
	for member, want := range map[string][]string{
		"lb1":  {"192.0.2%2E7=9", "192.0.2.1=0", "192.0.2.5/32=6", "192.0.2.6/32=8", "2001:db8::1=1"},
		"lb10": {"192.0.2.10=2"}, "lb": {"192.0.2.2=3"}, "a/b": {"192.0.2.3=4"}, "a": {"b/192.0.2.4=5"}, "": nil, "x": nil,
	} {
		m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/p/", PoolPrefix: "/p/", Name: member}
		m.Init()
		if _, known, _ := m.Added(); known {
			t.Errorf("%q: want nothing known before it was read", member)
		}
		var kvs []*mvccpb.KeyValue
		for i, key := range all {
			kvs = append(kvs, &mvccpb.KeyValue{Key: []byte(key), Value: []byte(fmt.Sprint(i)), CreateRevision: int64(i + 1), ModRevision: int64(i + 1)})
		}
		m.observer.load(m.observer.spans[0], kvs, 20, 0)
		keys, known, _ := m.Added()
		var got []string
		for name, v := range keys.Values {
			got = append(got, fmt.Sprintf("%s=%s", name, v.Value))
		}
		slices.Sort(got)
		if !known || keys.Revision != 20 || !slices.Equal(got, want) {
			t.Errorf("%q: want %v at revision 20, got %v at %d", member, want, got, keys.Revision)
		}
	}
}

// An operator's page may ask at each change, and at each second at rest.
func TestTheCopiesOfTheClusterAreMadeOncePerChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := pooledMember(5)
		o := m.observer
		key := func(name, value string, lease, revision int64) *clientv3.Event {
			return &clientv3.Event{Type: mvccpb.PUT, Kv: &mvccpb.KeyValue{Key: []byte("/berth/" + name), Value: []byte(value), Lease: lease, CreateRevision: revision, ModRevision: revision}}
		}
		o.apply(o.spans[0], []*clientv3.Event{key("members/b", `{"member":"b","node":1}`, 9, 6), key("elections/api/9", `{"member":"b"}`, 9, 7)}, 7)
		o.samples[9] = sample{asked: time.Now(), answered: time.Now(), left: 3 * time.Second}
		first, known, changed := m.Cluster()
		again, _, _ := m.Cluster()
		got := fmt.Sprint(known, len(first.Members), len(first.Instances["api"]), first.Instances["api"][1].Left, first.Instances["api"][0].Left, len(first.Pool.Held), &first.Instances["api"][0] == &again.Instances["api"][0])
		if want := "true 1 2 3s 0s 1 true"; got != want {
			t.Errorf("want %s, got %s", want, got)
		}
		time.Sleep(time.Second)
		if later, _, _ := m.Cluster(); later.Instances["api"][1].Left != 2*time.Second || later.Members["b"].Left != 2*time.Second {
			t.Errorf("want two seconds left, got %v", later)
		}
		time.Sleep(time.Minute)
		if later, _, _ := m.Cluster(); later.Instances["api"][1].Left != 0 {
			t.Errorf("want nothing left, got %v", later)
		}
		select {
		case <-changed:
			t.Error("want no change told without one")
		default:
		}
		o.apply(o.spans[0], []*clientv3.Event{key("elections/api/a", `{"member":"c"}`, 10, 8)}, 8)
		select {
		case <-changed:
		default:
			t.Error("want the change told")
		}
		if now, _, _ := m.Cluster(); len(now.Instances["api"]) != 3 || len(first.Instances["api"]) != 2 {
			t.Errorf("want the change in a new copy, got %v and %v", now, first)
		}
	})
}

// A person who views the cluster sees how long the leases of all members last; without one
// no request is made for them.
func TestTheLeasesOfMembersAreSampledWhileAPersonViewsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := pooledMember(5)
		m.observer.members.nodes["x"] = node{entry: entry{lease: 77}}
		time.Sleep(clusterAsked)
		if _, viewed := m.observer.leases(0); len(viewed) != 0 {
			t.Errorf("want none, got %v", viewed)
		}
		m.Cluster()
		_, viewed := m.observer.leases(0)
		slices.Sort(viewed)
		if want := []clientv3.LeaseID{8, 77}; !slices.Equal(viewed, want) {
			t.Errorf("want %v, got %v", want, viewed)
		}
		time.Sleep(clusterAsked)
		if _, viewed := m.observer.leases(0); len(viewed) != 0 {
			t.Errorf("want none after a while, got %v", viewed)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add("a/b", "/berth/pool/nodes/%zz")
	f.Add("192.0.2.1", "/berth/released")
	f.Fuzz(func(t *testing.T, name, key string) {
		s := keyspace{prefix: "/berth/", pool: "/berth/pool/"}
		s.parse(key)
		if name == "" {
			return
		}
		for _, r := range []ref{{false, name}, {true, name}} {
			if _, got, _ := s.parse(s.candidate(r, 7)); got != r {
				t.Errorf("want %v, got %v", r, got)
			}
			if _, got, _ := s.parse(s.record(releasedDir, r)); got != r {
				t.Errorf("want the record of %v, got %v", r, got)
			}
		}
		for _, one := range []keyspace{s, {prefix: "/p/", pool: "/p/"}} {
			if dir, got, rest := one.parse(AddedKey(one.prefix, name, key)); dir != addedDir || got != (ref{name: name}) || addedName(rest) != key {
				t.Errorf("want %q of %q, got %s %v %q", key, name, dir, got, addedName(rest))
			}
			if dir, got, rest := one.parse(newRoster(one.prefix+membersDir, nil).key(name)); dir != membersDir || got != (ref{name: name}) || rest != "" {
				t.Errorf("want the member %q, got %s %v %q", name, dir, got, rest)
			}
		}
	})
}

// pooledMember is a member whose watch has told of an address that another member holds.
func pooledMember(revision int64) *Member {
	m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", PoolPrefix: "/berth/pool/", Name: "b", TTL: 4 * time.Second}
	m.Init()
	m.observer.load(m.observer.spans[0], []*mvccpb.KeyValue{
		{Key: []byte("/berth/pool/held/192.0.2.1"), Value: []byte(`{"member":"a"}`), Lease: 9, CreateRevision: 3},
		{Key: []byte("/berth/elections/api/8"), Value: []byte(`{"member":"a"}`), Lease: 8, CreateRevision: 4}}, revision, 0)
	return m
}

// Any member may need to take any address of the pool next.
func TestTheLeasesOfAllHoldersOfThePoolAreSampled(t *testing.T) {
	if got, _ := pooledMember(5).observer.leases(0); !slices.Equal(got, []clientv3.LeaseID{9}) {
		t.Errorf("want the lease of the holder and not that of an election without a campaign, got %v", got)
	}
}

// A request can come to a key of which the watch has not told yet. It is not repeated
// until the watch has.
func TestACandidateOfThePoolWaitsForTheWatchToTellOfTheKeyInItsWay(t *testing.T) {
	for _, revision := range []int64{9, 10} {
		synctest.Test(t, func(t *testing.T) {
			m := pooledMember(revision)
			k := &candidate{Campaign: Campaign{Pool: true, Instance: "192.0.2.2", Able: condition.All(), Journal: journal.New(nil)}, m: m, obstructed: 10}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			term := &Term{Lease: 7}
			term.ctx, term.cancel = context.WithCancelCause(ctx)
			defer term.cancel(nil)
			if got := k.vacant(ctx, term); got != (revision == 10) {
				t.Errorf("at revision %d: want it not to be vacant before revision 10, got %t", revision, got)
			}
		})
	}
}
