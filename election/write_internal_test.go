package election

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"berth/internal/etcdtest"
)

// The limits are those of checkTxnRequest of etcd's server, where --max-txn-ops is 128.
func TestARequestHasNoMoreThanEtcdTakes(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	enter := func(key string) *write {
		return &write{ctx: t.Context(), transaction: transaction{then: []clientv3.Op{clientv3.OpPut(key, "v")}, not: []clientv3.Op{clientv3.OpGet(key)}}}
	}
	resign := func(key string) *write {
		return &write{ctx: t.Context(), transaction: transaction{then: []clientv3.Op{clientv3.OpDelete(key), clientv3.OpPut("released/"+key, "v")}}}
	}
	many := func(n int, of func(string) *write) (list []*write) {
		for i := range n {
			list = append(list, of(fmt.Sprint("k", i)))
		}
		return list
	}
	large := func(key string) *write {
		p := enter(key)
		p.then = []clientv3.Op{clientv3.OpPut(key, strings.Repeat("v", 200<<10))}
		return p
	}
	for _, row := range []struct {
		name        string
		waiting     []*write
		taken, left int
	}{
		{"a few", many(3, enter), 3, 0},
		{"entering", many(200, enter), 125, 75},
		{"resigning", many(200, resign), 124, 76},
		{"one key twice", []*write{resign("a"), enter("a"), enter("b"), resign("a")}, 2, 2},
		{"too large together", many(5, large), 2, 3},
		{"refused together", append(many(3, func(key string) *write { p := enter(key); p.most = 2; return p }), many(3, resign)...), 2, 4},
		{"not waited for", []*write{{ctx: ended}, enter("a")}, 1, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := &due{waiting: row.waiting, most: maxOps}
			if got := len(d.take()); got != row.taken || len(d.waiting) != row.left {
				t.Errorf("want %d taken and %d left, got %d and %d", row.taken, row.left, got, len(d.waiting))
			}
		})
	}
}

// etcd without space still deletes, and refuses a request whole that puts a key as well.
func TestWhatDeletesAloneIsNotSentWithWhatPuts(t *testing.T) {
	m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", Places: map[string]string{"db": "/db/"}}
	m.Init()
	ended, end := context.WithCancel(t.Context())
	end()
	for _, op := range []clientv3.Op{clientv3.OpPut("/berth/a", ""), clientv3.OpDelete("/berth/b"), clientv3.OpPut("/db/1", ""), clientv3.OpDelete("/berth/c")} {
		if _, err := m.writer.commit(ended, string(op.KeyBytes()), transaction{then: []clientv3.Op{op}}); err == nil {
			t.Error("want the end of the context")
		}
	}
	if got := len(m.writer.lanes); got != 3 {
		t.Errorf("want what puts, what deletes and another place apart, got %d", got)
	}
}

// started returns a writer whose transactions go out when the test calls send.
func started(t *testing.T, cluster *etcdtest.Cluster) (w *writer, send func()) {
	t.Helper()
	etcd, err := NewEtcd(Options{Endpoints: cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	one := &span{}
	w = newWriter(etcd, func(string) *span { return one })
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { end(); running.Wait(); etcd.Close() })
	return w, func() { running.Go(func() { w.run(ctx) }) }
}

// One transaction that etcd never takes, or for which the permission is missing, does not
// keep the others in its request waiting.
func TestATransactionThatEtcdRefusesFailsNoOther(t *testing.T) {
	t.Parallel()
	w, send := started(t, etcdtest.Start(t, 1, etcdtest.Options{}))
	const all, bad = 40, 17
	type answer struct {
		of  int
		err error
	}
	answers := make(chan answer, all)
	for i := range all {
		key := fmt.Sprint("/k", i)
		ops := []clientv3.Op{clientv3.OpPut(key, "v")}
		if i == bad {
			ops = append(ops, ops...)
		}
		go func() {
			_, err := w.commit(t.Context(), key, transaction{when: clientv3.Compare(clientv3.CreateRevision(key), "=", 0), then: ops})
			answers <- answer{i, err}
		}()
	}
	for waiting := 0; waiting < all; runtime.Gosched() {
		w.mu.Lock()
		for _, d := range w.lanes {
			waiting = len(d.waiting)
		}
		w.mu.Unlock()
	}
	send()
	for range all {
		if a := <-answers; (a.err != nil) != (a.of == bad) || a.of == bad && !errors.Is(a.err, rpctypes.ErrDuplicateKey) {
			t.Errorf("transaction %d: got %v", a.of, a.err)
		}
	}
	for err, want := range map[error]bool{rpctypes.ErrPermissionDenied: true, rpctypes.ErrLeaseNotFound: true, rpctypes.ErrNoSpace: false, ErrNoAnswer: false} {
		if got := ofOne(err); got != want {
			t.Errorf("%v: want it taken for that of one transaction: %t, got %t", err, want, got)
		}
	}
}

// A transaction that waits for ever keeps no other in its lane waiting as long.
func TestARequestWithoutAnAnswerEnds(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	w, send := started(t, cluster)
	cluster.Member(0).Hang()
	send()
	begun := time.Now()
	_, err := w.commit(t.Context(), "/k", transaction{then: []clientv3.Op{clientv3.OpPut("/k", "v")}})
	if took := time.Since(begun); !errors.Is(err, ErrNoAnswer) || took > sendTime+2*time.Second {
		t.Errorf("want no answer after %v, got %v after %v", sendTime, err, took)
	}
}
