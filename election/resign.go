package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// resignTime bounds the giving up of a key by a process that ends, from the start of it
// and from each renewal of the lease: without the record the next owner waits for a whole
// lease, so that a slow answer of an etcd that does answer is worth waiting for.
const resignTime = time.Second

// tenure is what a member has done with a key. The next owner must know it.
type tenure uint8

const (
	unknown    tenure = iota // a process or a term before this one put the key
	neverOwned               // the member was never the owner with it
	hasOwned
)

// resign gives the key up, in one transaction with the record of what the member has
// done with it. The key must not be used again while a request to delete it may be under
// way.
func (k *candidate) resign(ctx context.Context, term *Term, token int64) {
	k.unsettled = token
	asking := ctx
	if ctx.Err() != nil {
		end, cancel := k.m.session.whileRenewed(context.WithoutCancel(ctx), resignTime)
		defer cancel()
		asking = end
	}
	asking, cancel := context.WithTimeoutCause(asking, term.length(), ErrNoAnswer)
	defer cancel()
	asking, stop := joined(asking, term.ctx)
	defer stop()
	asked := time.Now()
	if err := k.m.resign(asking, k.ref(), k.key(term.Lease), token, k.tenure); err != nil {
		k.backOff(ctx, term, asked, keyUndeletable, "cannot delete the key in the election", err)
		return
	}
	k.written()
	k.unsettled, k.settled = 0, token
}

// resign deletes a key and writes that this was the will of its owner, or of a member
// that never owned. Where the tenure is unknown nothing is written, and the next
// owner waits.
func (m *Member) resign(ctx context.Context, r ref, key string, token int64, t tenure) error {
	value, err := json.Marshal(released{token, m.Name})
	if err != nil {
		return err
	}
	erase := func(ops ...clientv3.Op) error {
		_, err := m.writer.commit(ctx, key, transaction{when: clientv3.Compare(clientv3.CreateRevision(key), "=", token), then: ops})
		return err
	}
	ops := []clientv3.Op{clientv3.OpDelete(key)}
	dir := releasedDir
	if t == neverOwned {
		dir = withdrawnDir
	}
	if t != unknown {
		err = erase(append(ops, clientv3.OpPut(m.observer.keys.record(dir, r), string(value)))...)
	}
	// Without space etcd still deletes. Then the next owner waits.
	if t == unknown || errors.Is(err, rpctypes.ErrNoSpace) {
		err = erase(ops...)
	}
	if err != nil {
		return fmt.Errorf("give up %s: %w", key, err)
	}
	return nil
}
