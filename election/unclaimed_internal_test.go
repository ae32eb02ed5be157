package election

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// leasedMember is a member with lease 9, whose watch has told of nothing.
func leasedMember(t *testing.T) *Member {
	m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", Name: "b", TTL: 4 * time.Second}
	m.Init()
	term := &Term{Lease: 9}
	term.ctx, term.cancel = context.WithCancelCause(t.Context())
	m.session.publish(term)
	return m
}

// A campaign leaves its key in the moment before it is over.
func TestAKeyThatACampaignHasLeftIsNotForgottenBeforeThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := leasedMember(t)
		over := m.observer.begin(ref{name: "192.0.2.1"})
		key := leftKey{ref{name: "192.0.2.1"}, "/berth/elections/192.0.2.1/9", 5, hasOwned, 9}
		m.left.add(key)
		m.left.add(key)
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.resignLeft(ctx) }()
		defer func() { end(); <-done }()
		sent := func() (n int) {
			m.writer.mu.Lock()
			defer m.writer.mu.Unlock()
			for _, d := range m.writer.lanes {
				n += len(d.waiting)
			}
			return n
		}
		time.Sleep(2 * resignTime)
		synctest.Wait()
		if got := sent(); got != 0 {
			t.Errorf("want nothing given up beside a campaign, got %d", got)
		}
		over()
		time.Sleep(resignTime)
		synctest.Wait()
		if got := sent(); got != 1 {
			t.Errorf("want the key given up, got %d", got)
		}
		if got := m.left.take(ref{name: "192.0.2.1"}); got != key {
			t.Errorf("want it left to the next campaign until that is answered, got %v", got)
		}
	})
}

// The next owner waits for one that may have owned with the key or waited for its owner.
func TestOnlyKeysOfTheProcessBeforeAreTakenForThoseOfAnOwner(t *testing.T) {
	m := leasedMember(t)
	o := m.observer
	key := func(name string, lease, token int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte("/berth/elections/" + name), Value: []byte(`{"member":"b"}`), Lease: lease, CreateRevision: token, ModRevision: token}
	}
	o.load(o.spans[0], []*mvccpb.KeyValue{key("192.0.2.1/9", 9, 3), key("192.0.2.2/8", 8, 4)}, 5, 0)
	o.apply(o.spans[0], []*clientv3.Event{{Type: mvccpb.PUT, Kv: key("192.0.2.3/9", 9, 6)}}, 6)
	o.load(o.spans[0], []*mvccpb.KeyValue{key("192.0.2.1/9", 9, 3), key("192.0.2.3/9", 9, 6)}, 7, 0) // the watch began again
	for _, adopted := range []bool{true, false} {
		var got []tenure
		for _, k := range o.unclaimed(9, adopted) {
			got = append(got, k.tenure)
		}
		slices.Sort(got)
		if want := map[bool][]tenure{true: {unknown, hasOwned}, false: {unknown, unknown}}[adopted]; !slices.Equal(got, want) {
			t.Errorf("adopted %t: want %v, got %v", adopted, want, got)
		}
	}
}
