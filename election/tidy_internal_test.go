package election

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"berth/internal/etcdtest"
)

func TestTheFirstMemberOfThePoolDeletesRecordsOfAddressesThatAreGone(t *testing.T) {
	m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", PoolPrefix: "/berth/pool/", Name: "b"}
	m.Init()
	key := func(name, value string, lease int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte("/berth/pool/" + name), Value: []byte(value), Lease: lease, CreateRevision: 2, ModRevision: 2}
	}
	o := m.observer
	o.load(o.spans[0], []*mvccpb.KeyValue{
		key("ips/192.0.2.1/24", "", 0), key("released/192.0.2.1", `{"token":1}`, 0),
		key("ips/2001:DB8::7", "", 0), key("released/2001:db8::7", `{"token":1}`, 0),
		key("released/192.0.2.2", `{"token":1}`, 0), key("held/192.0.2.2", `{"member":"b"}`, 7),
		key("released/192.0.2.3", `{"token":1}`, 0), key("withdrawn/2001:db8::1", `{"token":1}`, 0),
		key("nodes/b", `{"member":"b"}`, 7), key("nodes/c", `{"member":"c"}`, 8)}, 3, 0)
	got := o.unusedRecords("b")
	slices.SortFunc(got, func(a, b ref) int { return len(a.name) - len(b.name) })
	if want := []ref{{true, "192.0.2.3"}, {true, "2001:db8::1"}}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
	if got := o.unusedRecords("c"); len(got) != 0 {
		t.Errorf("want nothing for a member that is not the first, got %v", got)
	}
}

// An address that was added at run time is in use while it is added to any member, or has
// a candidate or a campaign. An instance of the configuration is not an address.
func TestTheFirstMemberDeletesRecordsOfAddressesThatAreAddedNoMore(t *testing.T) {
	for _, pool := range []string{"", "/berth/pool/", "/berth/"} {
		m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", PoolPrefix: pool, Name: "b"}
		m.Init()
		key := func(name, value string, lease int64) *mvccpb.KeyValue {
			return &mvccpb.KeyValue{Key: []byte("/berth/" + name), Value: []byte(value), Lease: lease, CreateRevision: 2, ModRevision: 2}
		}
		o := m.observer
		o.load(o.spans[0], []*mvccpb.KeyValue{
			key("released/192.0.2.1", `{"token":1}`, 0), key("added/z/192.0.2.1", "{}", 0), // of a member that does not run
			key("released/192.0.2.2", `{"token":1}`, 0), key("elections/192.0.2.2/7", `{"member":"b"}`, 7),
			key("released/192.0.2.3", `{"token":1}`, 0),
			key("released/192.0.2.4", `{"token":1}`, 0),
			key("withdrawn/2001:db8::1", `{"token":1}`, 0),
			key("released/api", `{"token":1}`, 0),
			key("members/b", `{"member":"b"}`, 7), key("members/c", `{"member":"c"}`, 8)}, 3, 0)
		defer o.begin(ref{name: "192.0.2.3"})()
		got := o.unusedRecords("b")
		slices.SortFunc(got, func(a, b ref) int { return len(a.name) - len(b.name) })
		one := pool == "/berth/" // the records can be those of the pool
		if want := []ref{{one, "192.0.2.4"}, {one, "2001:db8::1"}}; !slices.Equal(got, want) {
			t.Errorf("pool %q: want %v, got %v", pool, want, got)
		}
		if got := o.unusedRecords("c"); len(got) != 0 && !one {
			t.Errorf("pool %q: want nothing for a member that is not the first, got %v", pool, got)
		}
	}
}

// A holder of an address that was taken out of the pool can act until its lease must have
// ended, and the next one must know that it gave the address up.
func TestRecordsAreDeletedInTheSecondRoundInWhichTheirAddressIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", PoolPrefix: "/berth/pool/", Name: "b"}
		m.Init()
		o := m.observer
		gone := func(name string) *mvccpb.KeyValue {
			return &mvccpb.KeyValue{Key: []byte("/berth/pool/released/" + name), Value: []byte(`{"token":1}`), CreateRevision: 2, ModRevision: 2}
		}
		listed := &mvccpb.KeyValue{Key: []byte("/berth/pool/ips/192.0.2.2"), CreateRevision: 4, ModRevision: 4}
		o.load(o.spans[0], []*mvccpb.KeyValue{gone("192.0.2.1"), gone("192.0.2.2")}, 3, 0)
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.tidyRecords(ctx) }()
		defer func() { end(); <-done }()
		// Nothing sends what the rounds have committed.
		sent := func() (keys []string) {
			m.writer.mu.Lock()
			defer m.writer.mu.Unlock()
			for _, d := range m.writer.lanes {
				for _, p := range d.waiting {
					for _, op := range p.then {
						keys = append(keys, string(op.KeyBytes()))
					}
				}
			}
			return keys
		}
		time.Sleep(tidyInterval + time.Second)
		synctest.Wait()
		if got := sent(); len(got) != 0 {
			t.Errorf("want nothing deleted in the first round, got %v", got)
		}
		o.apply(o.spans[0], []*clientv3.Event{{Type: mvccpb.PUT, Kv: listed}}, 4) // it came back
		time.Sleep(tidyInterval)
		synctest.Wait()
		if got, want := fmt.Sprint(sent()), "[/berth/pool/released/192.0.2.1 /berth/pool/withdrawn/192.0.2.1]"; got != want {
			t.Errorf("want %s deleted in the second, got %s", want, got)
		}
	})
}

// An address can come back and be held between a round and what it deletes.
func TestRecordsOfAnAddressThatIsHeldAreNotDeleted(t *testing.T) {
	t.Parallel()
	w, send := started(t, etcdtest.Start(t, 1, etcdtest.Options{}))
	m := &Member{Etcd: w.etcd, Prefix: "/berth/", PoolPrefix: "/berth/pool/", Name: "b"}
	m.Init()
	m.writer = w
	send()
	c, err := w.etcd.client(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"released/192.0.2.1", "withdrawn/192.0.2.1", "held/192.0.2.1", "released/192.0.2.2", "withdrawn/192.0.2.2"} {
		if _, err := c.Put(t.Context(), m.PoolPrefix+key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"released/192.0.2.1", "withdrawn/192.0.2.1", "elections/192.0.2.1/7f", "released/192.0.2.10", "elections/192.0.2.2/7f"} {
		if _, err := c.Put(t.Context(), m.Prefix+key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []ref{{true, "192.0.2.1"}, {true, "192.0.2.2"}, {false, "192.0.2.1"}, {false, "192.0.2.10"}} {
		m.deleteRecords(t.Context(), r)
	}
	r, err := c.Get(t.Context(), m.Prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, kv := range r.Kvs {
		left = append(left, string(kv.Key[len(m.Prefix):]))
	}
	if got, want := fmt.Sprint(left), "[elections/192.0.2.1/7f elections/192.0.2.2/7f pool/held/192.0.2.1 pool/released/192.0.2.1 pool/withdrawn/192.0.2.1 released/192.0.2.1 withdrawn/192.0.2.1]"; got != want {
		t.Errorf("want %s left, got %s", want, got)
	}
}

// The lists of a pool through which thousands of addresses have gone must not grow.
func TestAddressesThatAreGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", PoolPrefix: "/berth/pool/", Name: "b", TTL: 4 * time.Second}
		m.Init()
		o := m.observer
		key := func(name string) *mvccpb.KeyValue {
			return &mvccpb.KeyValue{Key: []byte("/berth/pool/" + name), Value: []byte(`{"token":1}`), CreateRevision: 2, ModRevision: 2}
		}
		o.load(o.spans[0], []*mvccpb.KeyValue{key("ips/192.0.2.1"), key("released/192.0.2.2"), key("held/192.0.2.3")}, 3, 0)
		// Beside them those of an instance, and of addresses that were added at run time.
		o.queue(ref{name: "api"})
		o.queue(ref{name: "2001:db8::1"})
		o.added.put("c", "2001:db8::2", AddedValue{})
		o.queue(ref{name: "2001:db8::2"})
		queue := func(name string) *queue { return o.queue(ref{true, name}) }
		queue("192.0.2.1")
		queue("192.0.2.4").campaigns = 1
		queue("192.0.2.5").until = time.Now().Add(time.Minute)
		queue("192.0.2.6").vacated = time.Now()
		queue("192.0.2.7").unconfirmed = []expiry{{until: time.Now()}}
		queue("192.0.2.8").unconfirmed = []expiry{{until: time.Now().Add(time.Minute)}}
		queue("192.0.2.9")
		o.forget()
		if got := len(o.queues); got != 9 {
			t.Errorf("want nine of twelve kept, got %d: %v", got, o.queues)
		}
		time.Sleep(2 * tidyInterval)
		o.forget()
		if got := len(o.queues); got != 6 {
			t.Errorf("want the listed, the recorded, the held, the added, the instance and that with a campaign kept, got %d: %v", got, o.queues)
		}
		q := queue("192.0.2.1")
		q.unconfirmed = []expiry{{until: time.Now()}, {until: time.Now().Add(time.Second)}}
		o.decideWaits(q)
		if got := len(q.unconfirmed); got != 1 {
			t.Errorf("want a lease that must have ended forgotten, got %d", got)
		}
	})
}
