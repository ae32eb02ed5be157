package election

import (
	"context"
	"testing"
	"time"

	"berth/internal/condition"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func newCandidate(able condition.Condition) *candidate {
	m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", PoolPrefix: "/berth/pool/", Name: "a", TTL: 4 * time.Second}
	m.Init()
	k := &candidate{m: m, Campaign: Campaign{Pool: true, Instance: "192.0.2.1", Able: able, Journal: m.Journal}}
	k.owning, k.writing = m.Journal.Condition(), m.Journal.Condition()
	return k
}

// The revisions of an etcd that was wiped begin anew.
func TestAKeyOfAFormerHistoryIsNotInTheWay(t *testing.T) {
	for _, row := range []struct {
		name                   string
		obstructed, told, term int   // eras
		revision               int64 // that was told
		want                   bool
	}{
		{"the watch has not told of the key", 0, 0, 0, 99, false},
		{"the key is gone", 0, 0, 0, 101, true},
		{"the key was in another history", 0, 1, 1, 5, true},
		{"the watch has not come to this history", 1, 0, 1, 200, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newCandidate(condition.All())
			k.m.observer.load(k.m.observer.spans[0], nil, row.revision, row.told)
			k.obstructed, k.obstructedEra = 100, row.obstructed
			ended, end := context.WithCancel(t.Context())
			end()
			if got := k.vacant(ended, &Term{Lease: 1, era: row.term, ctx: t.Context()}); got != row.want {
				t.Errorf("want the key free: %t, got %t", row.want, got)
			}
		})
	}
}

// A host that becomes able weeks after etcd refused a key does not act alone at once.
func TestThatEtcdRefusedAKeyIsForgotten(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	unable := &condition.Value{}
	unable.Set(false, "ill")
	for _, row := range []struct {
		name  string
		able  condition.Condition
		lease clientv3.LeaseID
		kept  bool
	}{
		{"the same lease of an able host", condition.All(), 7, true},
		{"a new lease", condition.All(), 6, false},
		{"a host that is not able", unable, 7, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newCandidate(row.able)
			k.m.session.publish(&Term{Lease: 7, ctx: t.Context(), ttl: 4 * time.Second, sent: time.Now()})
			k.lease = row.lease
			k.unwritable = time.Now().Add(-time.Hour)
			_, _ = k.ready(ended)
			if got := !k.unwritable.IsZero(); got != row.kept {
				t.Errorf("want it kept: %t, got %t", row.kept, got)
			}
		})
	}
}
