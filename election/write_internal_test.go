package election

import (
	"context"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
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
