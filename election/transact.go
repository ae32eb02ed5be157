package election

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// MaxOps is how many operations one transaction of etcd may have (its default of
// --max-txn-ops).
const MaxOps = 128

// Transact carries out the operations in one transaction, MaxOps at the most. A request
// that is not answered in time is sent again: the operations must have the same effect
// when they are carried out twice.
func (e *Etcd) Transact(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	return call(ctx, e, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).Then(ops...).Commit()
	})
}
