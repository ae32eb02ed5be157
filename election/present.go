package election

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"time"

	"berth/internal/journal"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Present has this member take part in the pool while ctx lasts: the key of the member
// below nodes/ has what value returns, which is JSON, under the lease of the member.
// It is put again under each new lease, after a receipt from changed if value returns
// something else, and after its deletion by a person. When ctx ends, the key is deleted,
// unless the cause matches ErrLeave. It returns the cause. The key of another host with
// the name of this one stays that host's. The member must run.
func (m *Member) Present(ctx context.Context, value func() []byte, changed <-chan struct{}) error {
	p := &presence{m: m, key: m.nodeKey(), refusal: m.Journal.Condition()}
	defer p.refusal.Drop()
	m.observer.present()
	defer func() { m.observer.absent(!errors.Is(context.Cause(ctx), ErrLeave)) }()
	for ctx.Err() == nil {
		term, _, newTerm := m.session.state()
		n, there, seen, next := p.node()
		var again <-chan time.Time
		told, err := json.Marshal(json.RawMessage(value())) // as it comes back
		if err == nil && term != nil && seen && p.missing(n, there, term, told) {
			err = p.put(ctx, term, n.modified, told)
		}
		if err != nil {
			again = time.After(p.wait(err))
		}
		select {
		case <-ctx.Done():
		case <-newTerm:
		case <-next:
		case <-changed:
		case <-again:
		}
	}
	if term, _, _ := m.session.state(); term != nil && !errors.Is(context.Cause(ctx), ErrLeave) {
		p.delete(ctx, term)
	}
	return context.Cause(ctx)
}

// presence is a call of Present.
type presence struct {
	m       *Member
	key     string
	revised int64 // revision of the last put
	era     int   // in which that was
	refusal *journal.Condition
}

// node returns the key as the watch tells it; seen is false until it tells what this
// process has put last.
func (p *presence) node() (n node, there, seen bool, changed <-chan struct{}) {
	o := p.m.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.pool
	n, there = c.nodes[p.m.Name]
	return n, there, c.span.read && (c.span.era != p.era || c.span.revision >= p.revised), c.changed
}

// missing reports whether the key is to be put.
func (p *presence) missing(n node, there bool, term *Term, value []byte) bool {
	switch {
	case !there:
		return true
	case n.lease == term.Lease:
		return !bytes.Equal(n.value, value)
	}
	return p.m.is(n.entry) // of a process before this one, or of a lease before this one
}

// put puts the key if it is still that of a revision, 0 if there was none.
func (p *presence) put(ctx context.Context, term *Term, revision int64, value []byte) error {
	c := p.m.candidacy()
	c.Since, c.TTL = time.Now().UTC(), int64(term.length()/time.Second)
	text, err := json.Marshal(nodeValue{c, value})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, term.length(), ErrNoAnswer)
	defer cancel()
	ctx, stop := joined(ctx, term.ctx)
	defer stop()
	r, err := p.m.writer.commit(ctx, p.key, transaction{
		when: clientv3.Compare(clientv3.ModRevision(p.key), "=", revision),
		then: []clientv3.Op{clientv3.OpPut(p.key, string(text), clientv3.WithLease(term.Lease))},
		not:  []clientv3.Op{clientv3.OpGet(p.key)},
	})
	if err != nil {
		return err
	}
	if !r.succeeded { // the watch tells what is there instead, unless a person has put it
		if found := r.responses[0].GetResponseRange().Kvs; len(found) > 0 && found[0].Lease == 0 {
			return errForeignNode
		}
		return nil
	}
	p.refusal.Clear()
	p.revised, p.era = r.revision, term.era
	return nil
}

// errForeignNode says that a key that berth did not write is in the place of this member's.
var errForeignNode = errors.New("a key without a lease is in its place, which berth did not write; delete it")

// wait tells why the key could not be put, and returns how long to wait.
func (p *presence) wait(err error) time.Duration {
	if !stubborn(err) && !errors.Is(err, errForeignNode) {
		p.m.Journal.Debug("cannot put the key of this member in the pool", zap.Error(err))
		return hedge
	}
	p.refusal.Fail(nodeRefused, err, zap.Duration("wait", refusedWait))
	return refusedWait
}

// delete deletes the key if it is under the lease of a term.
func (p *presence) delete(ctx context.Context, term *Term) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTime)
	defer cancel()
	_, err := p.m.writer.commit(ctx, p.key, transaction{
		when: clientv3.Compare(clientv3.LeaseValue(p.key), "=", term.Lease),
		then: []clientv3.Op{clientv3.OpDelete(p.key)},
	})
	if err != nil { // see withdrawNode
		p.m.Journal.Debug("cannot delete the key of this member in the pool", zap.Error(err))
	}
}

// nodeKey is the key of this member below nodesDir.
func (m *Member) nodeKey() string { return m.PoolPrefix + nodesDir + url.PathEscape(m.Name) }

// present notes that a call of Present begins, absent that it has ended, and whether the key
// of this member must go.
func (o *observer) present() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pool.presenting++
	o.pool.presented = true
}

func (o *observer) absent(gone bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pool.presenting--
	o.pool.absent = gone
}

// unclaimedNode notes that the key of an adopted lease must go, unless Present was called.
func (o *observer) unclaimedNode() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pool != nil && !o.pool.presented {
		o.pool.absent = true
	}
}

// stray returns the key of this member if it is under a lease of this process although
// the member takes no part in the pool.
func (o *observer) stray(member string) (n node, stray bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pool
	n, there := p.nodes[member]
	return n, there && p.absent && p.presenting == 0 && o.had(n.lease)
}

// withdrawNode deletes the key of this member while it takes no part in the pool, until
// ctx ends. The deletion at the end of Present can fail, and a request to put the key can
// come through after it: the others would leave a share of the addresses to this member.
func (m *Member) withdrawNode(ctx context.Context) {
	if m.PoolPrefix == "" {
		return
	}
	every(ctx, resignTime, func() {
		if n, stray := m.observer.stray(m.Name); stray {
			m.deleteNode(ctx, n.modified)
		}
	})
}

// deleteNode deletes the key of this member if it is that of a revision.
func (m *Member) deleteNode(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err := m.writer.commit(ctx, m.nodeKey(), transaction{
		when: clientv3.Compare(clientv3.ModRevision(m.nodeKey()), "=", revision),
		then: []clientv3.Op{clientv3.OpDelete(m.nodeKey())},
	})
	if err != nil { // and again in a while
		m.Journal.Debug("cannot delete the key of this member in the pool", zap.Error(err))
	}
}
