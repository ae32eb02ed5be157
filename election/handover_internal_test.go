package election

import (
	"testing"

	"berth/internal/etcdtest"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A member can leave the queue after it was read.
func TestARequestIsPutOnlyWhileItsHeirsAreInTheQueue(t *testing.T) {
	t.Parallel()
	w, _ := started(t, etcdtest.Start(t, 1, etcdtest.Options{}))
	c, err := w.etcd.client(0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Put(t.Context(), "/berth/elections/api/7", "{}")
	if err != nil {
		t.Fatal(err)
	}
	h := handover{etcd: w.etcd, keys: keyspace{prefix: "/berth/"}, instance: "api", wanted: wanted{Except: "a"}}
	for _, there := range []bool{false, true} {
		heir := entry{key: "/berth/elections/api/7", token: r.Header.Revision}
		if !there {
			heir.token--
		}
		withdraw, err := h.put(t.Context(), []entry{heir})
		if err != nil || (withdraw != nil) != there {
			t.Fatalf("want it put: %t, got %t, %v", there, withdraw != nil, err)
		}
		if got, err := c.Get(t.Context(), "/berth/wanted/api"); err != nil || len(got.Kvs) > 0 != there {
			t.Errorf("want the request in etcd: %t, got %v, %v", there, got, err)
		}
		if there {
			withdraw()
		}
	}
	if got, err := c.Get(t.Context(), "/berth/wanted/", clientv3.WithPrefix()); err != nil || len(got.Kvs) > 0 {
		t.Errorf("want the request withdrawn, got %v, %v", got, err)
	}
}
