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
	if got := pooledMember(5).observer.leases(0); !slices.Equal(got, []clientv3.LeaseID{9}) {
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
