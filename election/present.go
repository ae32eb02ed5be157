package election

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	return m.tell(ctx, &presence{roster: m.observer.pool.nodes, refused: nodeRefused}, value, changed)
}

// TellMember is Present for the key of the member below members/, from which
// [Member.Cluster] tells all members of this one. The key is written once in a second at
// most. It is information only: no member decides by it.
func (m *Member) TellMember(ctx context.Context, value func() []byte, changed <-chan struct{}) error {
	return m.tell(ctx, &presence{roster: m.observer.members, refused: memberRefused, rest: tellRest}, value, changed)
}

// tellRest is the least time between two writes of TellMember.
const tellRest = time.Second

// presence is a call of tell.
type presence struct {
	m       *Member
	roster  *roster
	refused journal.Kind
	rest    time.Duration // between two puts
	key     string
	since   time.Time
	due     time.Time // no put before this moment
	revised int64     // revision of the last put
	era     int       // in which that was
	refusal *journal.Condition
}

// tell keeps the key of this member in a roster, as Present says.
func (m *Member) tell(ctx context.Context, p *presence, value func() []byte, changed <-chan struct{}) error {
	p.m, p.key, p.since, p.refusal = m, p.roster.key(m.Name), time.Now().UTC(), m.Journal.Condition()
	defer p.refusal.Drop()
	m.observer.present(p.roster)
	defer func() { m.observer.absent(p.roster, !errors.Is(context.Cause(ctx), ErrLeave)) }()
	for ctx.Err() == nil {
		term, _, newTerm := m.session.state()
		n, there, seen, next := p.node()
		var err error
		var again <-chan time.Time
		switch {
		case time.Until(p.due) > 0: // the value, which can be long, is made when it can be put
			again = time.After(time.Until(p.due))
		case term != nil && seen:
			var told []byte
			if told, err = json.Marshal(json.RawMessage(value())); err == nil && p.missing(n, there, term, told) { // as it comes back
				p.due = time.Now().Add(p.rest)
				err = p.put(ctx, term, n.modified, told)
			}
		}
		if err != nil {
			wait := p.wait(err)
			p.due = time.Now().Add(max(wait, p.rest))
			again = time.After(time.Until(p.due))
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

// node returns the key as the watch tells it; seen is false until it tells what this
// process has put last.
func (p *presence) node() (n node, there, seen bool, changed <-chan struct{}) {
	o, r := p.m.observer, p.roster
	o.mu.Lock()
	defer o.mu.Unlock()
	n, there = r.nodes[p.m.Name]
	return n, there, r.span.read && (r.span.era != p.era || r.span.revision >= p.revised), r.changed
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
	c.Since, c.TTL = p.since, int64(term.length()/time.Second)
	text, err := json.Marshal(nodeValue{c, value})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, term.length(), ErrNoAnswer)
	defer cancel()
	ctx, stop := joined(ctx, term.ctx)
	defer stop()
	r, err := p.m.Etcd.commit(ctx, transaction{
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
		p.m.Journal.Debug("cannot put the key of this member", zap.String("key", p.key), zap.Error(err))
		return hedge
	}
	p.refusal.Fail(p.refused, err, zap.Duration("wait", refusedWait))
	return refusedWait
}

// delete deletes the key if it is under the lease of a term.
func (p *presence) delete(ctx context.Context, term *Term) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignTime)
	defer cancel()
	p.m.deleteNode(ctx, p.key, clientv3.Compare(clientv3.LeaseValue(p.key), "=", term.Lease))
}

// withdrawNodes deletes the keys in which this member tells of itself no more, until ctx
// ends. The deletion at the end of tell can fail, and a request to put the key can come
// through after it: the others would leave a share of the addresses to this member.
func (m *Member) withdrawNodes(ctx context.Context) {
	every(ctx, resignTime, func() {
		for _, n := range m.observer.strays(m.Name) {
			deleting, cancel := context.WithTimeout(ctx, requestTime)
			m.deleteNode(deleting, n.key, clientv3.Compare(clientv3.ModRevision(n.key), "=", n.modified))
			cancel()
		}
	})
}

// deleteNode deletes a key of this member on a condition.
func (m *Member) deleteNode(ctx context.Context, key string, when clientv3.Cmp) {
	if _, err := m.Etcd.commit(ctx, transaction{when: when, then: []clientv3.Op{clientv3.OpDelete(key)}}); err != nil { // see withdrawNodes
		m.Journal.Debug("cannot delete the key of this member", zap.String("key", key), zap.Error(err))
	}
}
