package election

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// transaction is what a member writes at once, if one comparison holds.
type transaction struct {
	when clientv3.Cmp
	then []clientv3.Op
	not  []clientv3.Op // where the comparison does not hold
}

// outcome is what came of a transaction.
type outcome struct {
	succeeded bool  // the comparison held
	revision  int64 // of etcd after it
	responses []*pb.ResponseOp
}

// commit has etcd carry out a transaction about a key. It must be safe to be done more
// than once.
func (m *Member) commit(ctx context.Context, key string, t transaction) (outcome, error) {
	r, err := call(ctx, m.Etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).If(t.when).Then(t.then...).Else(t.not...).Commit()
	})
	if err != nil {
		return outcome{}, err
	}
	return outcome{r.Succeeded, r.Header.Revision, r.Responses}, nil
}
