package election

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
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

const (
	// maxOps is how many operations a request has at most, as etcd counts them: those of
	// the outer transaction and of its longest inner one (checkTxnRequest of the server,
	// whose --max-txn-ops is 128 by default).
	maxOps = 126
	// maxBytes bounds keys and values of a request; etcd takes 1.5 MiB by default
	// (--max-request-bytes).
	maxBytes = 512 << 10
)

// writer sends the transactions of a member: those that are due at the same time go out
// in one request, each with its comparison, so that one that is refused is refused alone.
// It is safe for concurrent use.
type writer struct {
	etcd *Etcd
	span func(key string) *span
	wake chan struct{} // one slot

	mu    sync.Mutex
	lanes map[lane]*due
}

// lane is where transactions can go out together: an error of etcd is the error of all in
// a request. A permission may be missing for one span alone, and an etcd without space
// still deletes.
type lane struct {
	span *span
	puts bool
}

// due is the transactions of a lane that are to go out, in order.
type due struct {
	waiting []*write
	sending bool
	most    int // operations in a request
}

// write is one transaction on its way.
type write struct {
	transaction
	ctx  context.Context
	done chan result // one slot
	most int         // transactions in a request with this one, 0 if it was never refused with others
}

type result struct {
	outcome
	err error
}

func newWriter(e *Etcd, spanOf func(string) *span) *writer {
	return &writer{etcd: e, span: spanOf, wake: make(chan struct{}, 1), lanes: map[lane]*due{}}
}

// commit has etcd carry out a transaction about a key. It must be safe to be done more
// than once. An error says that it may have been carried out, or may still be. The
// member must run.
func (w *writer) commit(ctx context.Context, key string, t transaction) (outcome, error) {
	p := &write{transaction: t, ctx: ctx, done: make(chan result, 1)}
	l := lane{w.span(key), slices.ContainsFunc(t.then, func(op clientv3.Op) bool { return op.IsPut() })}
	w.mu.Lock()
	if w.lanes[l] == nil {
		w.lanes[l] = &due{most: maxOps}
	}
	w.lanes[l].waiting = append(w.lanes[l].waiting, p)
	w.mu.Unlock()
	w.ring()
	select {
	case <-ctx.Done():
		return outcome{}, context.Cause(ctx)
	case r := <-p.done:
		return r.outcome, r.err
	}
}

func (w *writer) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run sends until ctx ends. A lane has one request under way: what becomes due meanwhile
// makes the next one.
func (w *writer) run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		w.mu.Lock()
		for _, d := range w.lanes {
			if d.sending {
				continue
			}
			if batch := d.take(); len(batch) > 0 {
				d.sending = true
				sending.Go(func() { w.deliver(ctx, d, batch) })
			}
		}
		w.mu.Unlock()
	}
}

// take takes the transactions for one request: as many as etcd takes, of which no two
// are about one key. It is called with the lock held.
func (d *due) take() (batch []*write) {
	var later []*write
	keys, inner, size, most := map[string]bool{}, 0, 0, maxOps
	for _, p := range d.waiting {
		if p.ctx.Err() != nil { // its commit has returned
			continue
		}
		ops, bytes := max(1, len(p.then), len(p.not)), p.bytes()
		limit := most
		if p.most != 0 {
			limit = min(limit, p.most)
		}
		fits := len(batch) == 0 || len(batch) < limit && len(batch)+1+max(inner, ops) <= d.most && size+bytes <= maxBytes
		if !fits || p.overlaps(keys) {
			later = append(later, p)
			p.note(keys) // what is about the same key comes after it
			continue
		}
		p.note(keys)
		batch, inner, size, most = append(batch, p), max(inner, ops), size+bytes, limit
	}
	d.waiting = later
	return batch
}

func (p *write) bytes() (n int) {
	for _, op := range p.then {
		n += len(op.KeyBytes()) + len(op.ValueBytes())
	}
	return n
}

// overlaps reports whether the transaction writes one of the keys: etcd refuses a request
// that writes a key twice.
func (p *write) overlaps(keys map[string]bool) bool {
	return slices.ContainsFunc(p.then, func(op clientv3.Op) bool { return keys[string(op.KeyBytes())] })
}

func (p *write) note(keys map[string]bool) {
	for _, op := range p.then {
		keys[string(op.KeyBytes())] = true
	}
}

// deliver sends one request and tells each of its parts what came of it.
func (w *writer) deliver(ctx context.Context, d *due, batch []*write) {
	results, err := w.send(ctx, batch)
	w.mu.Lock()
	defer w.mu.Unlock()
	d.sending = false
	if len(batch) > 1 && (oversized(err) || ofOne(err)) { // etcd has carried out nothing
		if oversized(err) {
			d.most = max(2, d.most/2) // this etcd takes less
		} else {
			for _, p := range batch {
				p.most = len(batch) / 2 // until the one that is refused is alone
			}
		}
		d.waiting = append(batch, d.waiting...)
		w.ring()
		return
	}
	for i, p := range batch {
		if err != nil {
			p.done <- result{err: err}
		} else {
			p.done <- result{outcome: results[i]}
		}
	}
	if len(d.waiting) > 0 {
		w.ring()
	}
}

// ofOne reports whether an error that etcd gave to all transactions of a request can be
// that of one of them.
func ofOne(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrLeaseNotFound) || malformed(err)
}

// sendTime bounds a request, which is in the way of others: what is not answered is tried
// again by those that have time left.
const sendTime = 2 * requestTime

// send asks etcd for as long as one of the parts waits for the answer, and no longer than
// sendTime.
func (w *writer) send(ctx context.Context, batch []*write) ([]outcome, error) {
	ctx, stop := context.WithTimeoutCause(ctx, sendTime, ErrNoAnswer)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var waiting atomic.Int64
	waiting.Store(int64(len(batch)))
	for _, p := range batch {
		defer context.AfterFunc(p.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel(context.Cause(p.ctx))
			}
		})()
	}
	r, err := call(ctx, w.etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		if p := batch[0]; len(batch) == 1 {
			return c.Txn(ctx).If(p.when).Then(p.then...).Else(p.not...).Commit()
		}
		all := make([]clientv3.Op, len(batch))
		for i, p := range batch {
			all[i] = clientv3.OpTxn([]clientv3.Cmp{p.when}, p.then, p.not)
		}
		return c.Txn(ctx).Then(all...).Commit()
	})
	if err != nil {
		return nil, err
	}
	if len(batch) == 1 {
		return []outcome{{r.Succeeded, r.Header.Revision, r.Responses}}, nil
	}
	outcomes := make([]outcome, len(batch))
	for i := range batch {
		inner := r.Responses[i].GetResponseTxn()
		outcomes[i] = outcome{inner.Succeeded, r.Header.Revision, inner.Responses}
	}
	return outcomes, nil
}
