package election

import (
	"maps"
	"slices"

	"berth/internal/journal"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// PoolKeys is a copy of the keys of the pool at one revision, which nobody may change.
type PoolKeys struct {
	Revision int64
	// Era counts the breaks of etcd's history. In another era the keys may have vanished
	// although nobody has deleted them.
	Era     int
	IPs     []string              // what follows ips/, as written, sorted
	Nodes   map[string]PoolNode   // by member
	Drained map[string]bool       // by member
	Held    map[string]PoolHolder // by address
}

// PoolNode is a member that takes part in the pool.
type PoolNode struct {
	Value []byte // what the member told with Present
	Own   bool   // by this process, or by the one whose lease this process has adopted
}

// PoolHolder is the member that has an address of the pool.
type PoolHolder struct {
	Member string
	Own    bool // as in PoolNode
	Token  int64
	// Released is the token that an owner last gave up by its own will, 0 for none.
	Released int64
}

// poolCopy is the observer's copy of the keys of the pool but for the holders, for which
// it has queues. The lock of the observer guards the copy. Its methods do nothing on nil.
type poolCopy struct {
	span    *span
	ips     map[string]struct{}
	nodes   *roster
	drained map[string]bool
	doubled *journal.Condition // another host takes part under the name of this one

	// Copies of the maps above, nil after a change. PoolKeys share them.
	sorted     []string
	shared     map[string]PoolNode
	sharedIdle map[string]bool
	keys       *PoolKeys     // nil after any change
	changed    chan struct{} // closed at the next one
}

func newPoolCopy(prefix string, s *span, doubled *journal.Condition) *poolCopy {
	p := &poolCopy{span: s, nodes: newRoster(prefix+nodesDir, s), doubled: doubled, changed: make(chan struct{})}
	p.clear(s)
	return p
}

// clear forgets everything, if it is in that span.
func (p *poolCopy) clear(s *span) {
	if p != nil && p.span == s {
		p.ips, p.drained = map[string]struct{}{}, map[string]bool{}
		p.nodes.clear(s)
		p.sorted, p.shared, p.sharedIdle = nil, nil, nil
	}
}

// ring tells that keys of a span have changed.
func (p *poolCopy) ring(s *span) {
	if p != nil && p.span == s {
		p.nodes.ring()
		p.keys = nil
		close(p.changed)
		p.changed = make(chan struct{})
	}
}

// putPool takes a key of the pool that is not about a holder.
func (o *observer) putPool(dir, name, rest string, kv *mvccpb.KeyValue) {
	p := o.pool
	switch {
	case name == "" || rest != "":
	case dir == ipsDir:
		if _, known := p.ips[name]; !known {
			p.ips[name], p.sorted = struct{}{}, nil
		}
	case dir == drainedDir:
		p.drained[name], p.sharedIdle = true, nil
	case dir == nodesDir:
		o.putNode(p.nodes, name, kv)
		p.shared = nil
	}
}

// removePool takes the deletion of such a key.
func (o *observer) removePool(dir, name, rest string) {
	p := o.pool
	switch {
	case rest != "":
	case dir == ipsDir:
		delete(p.ips, name)
		p.sorted = nil
	case dir == drainedDir:
		delete(p.drained, name)
		p.sharedIdle = nil
	case dir == nodesDir:
		p.nodes.remove(name)
		p.shared = nil
	}
}

// Pool returns the keys of the pool, known is false until all were read, and a channel
// that is closed at their next change. Several changes that etcd tells at once are one.
func (m *Member) Pool() (keys PoolKeys, known bool, changed <-chan struct{}) {
	o := m.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pool
	if p.keys == nil && p.span.read {
		p.keys = o.poolKeys()
	}
	if p.keys == nil {
		return PoolKeys{}, false, p.changed
	}
	return *p.keys, true, p.changed
}

// poolKeys makes a copy of what has changed since the last one. It is called with the lock
// held.
func (o *observer) poolKeys() *PoolKeys {
	p := o.pool
	if p.sorted == nil {
		p.sorted = slices.Sorted(maps.Keys(p.ips))
	}
	if p.shared == nil {
		p.shared = make(map[string]PoolNode, len(p.nodes.nodes))
		for name, n := range p.nodes.nodes {
			p.shared[name] = PoolNode{n.value, o.had(n.lease)}
		}
	}
	if p.sharedIdle == nil {
		p.sharedIdle = maps.Clone(p.drained)
	}
	held := make(map[string]PoolHolder, len(p.ips))
	for r, q := range o.queues {
		if r.pool && len(q.entries) > 0 {
			held[r.name] = PoolHolder{q.entries[0].Member, o.had(q.entries[0].lease), q.entries[0].token, q.released}
		}
	}
	return &PoolKeys{p.span.revision, p.span.era, p.sorted, p.shared, p.sharedIdle, held}
}

// Acknowledged reports whether etcd acknowledges the lease of this member: not before it
// has granted one, nor while this member goes on without its answers.
func (m *Member) Acknowledged() bool {
	t, _, _ := m.session.state()
	return fresh(t)
}

// Holder is Owner for an address of the pool.
func (m *Member) Holder(address string) (name string, other, ok bool) {
	name, lease, ok := m.observer.owner(ref{pool: true, name: address})
	return name, !m.session.had(lease), ok
}
