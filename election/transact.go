package election

import (
	"bytes"
	"context"
	"sync/atomic"

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

// commit carries out a transaction in a request of its own, without a member that runs. As
// with that of the writer, the transaction must be safe to be done more than once.
func (e *Etcd) commit(ctx context.Context, t transaction) (outcome, error) {
	r, err := call(ctx, e, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).If(t.when).Then(t.then...).Else(t.not...).Commit()
	})
	if err != nil {
		return outcome{}, err
	}
	return outcome{r.Succeeded, r.Header.Revision, r.Responses}, nil
}

// Swap puts a key, or deletes the key where value is nil, if its last change is that of the
// revision was, 0 for a key that is absent. It reports whether that was done, and the
// revision of the change, or of the last change that the key has instead, 0 if the key is
// absent. An error says that it may have been done, or may still be.
//
// A request that is not answered in time is sent again. If the first one was carried out,
// the second finds the key changed; then it is done if the key is as it was to become,
// which another writer of the same value, in the same moment, may have brought about.
func (e *Etcd) Swap(ctx context.Context, key string, was int64, value []byte) (revision int64, done bool, err error) {
	change := clientv3.OpPut(key, string(value))
	if value == nil {
		change = clientv3.OpDelete(key)
	}
	var sent atomic.Int32
	r, err := call(ctx, e, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		sent.Add(1)
		return c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", was)).Then(change).Else(clientv3.OpGet(key)).Commit()
	})
	switch {
	case err != nil:
		return 0, false, err
	case r.Succeeded:
		return r.Header.Revision, true, nil
	}
	again := sent.Load() > 1
	found := r.Responses[0].GetResponseRange().Kvs
	if len(found) == 0 {
		return 0, again && value == nil, nil
	}
	return found[0].ModRevision, again && value != nil && bytes.Equal(found[0].Value, value), nil
}
