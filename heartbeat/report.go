package heartbeat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// reportPause is how often what arrives is told, or once per interval if that is longer.
const reportPause = time.Second

// report tells what the other parts see, in the journal and in the metrics, so that none
// of them waits for either. It runs until ctx ends.
func (n *Node) report(ctx context.Context) error {
	r := &reporter{node: n, peers: map[netip.Addr]*peerReport{}}
	for i := range r.refused {
		r.refused[i] = n.options.Journal.Condition()
	}
	r.receiving, r.tie = n.options.Journal.Condition(), n.options.Journal.Condition()
	n.options.Metrics.begin()
	tick := time.NewTicker(max(reportPause, n.options.Interval))
	defer tick.Stop()
	defer r.drop()
	for {
		r.tell()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case <-n.news:
		}
	}
}

// reporter belongs to the goroutine of report.
type reporter struct {
	node           *Node
	refused        [reasons]*journal.Condition
	receiving, tie *journal.Condition
	peers          map[netip.Addr]*peerReport
	counted        [reasons]uint64
	sent, failed   uint64
}

// peerReport is what was told of a peer.
type peerReport struct {
	name                string
	heard, self         bool
	living, unreachable *journal.Condition
}

// peerView is what is to be told of a peer.
type peerView struct {
	addr        netip.Addr
	name        string
	self, heard bool
	failed      error
	alive       []bool // for each address
}

func (r *reporter) tell() {
	n := r.node
	unable := n.unable()
	n.mu.Lock()
	samples, receiver, still, priority := n.samples, n.receiver, n.still, n.priority
	n.still = 0
	settled := time.Now().After(n.hold.until)
	var tie error
	for _, a := range n.addresses {
		if unable != "" {
			priority = worst
			break
		}
		tie = cmp.Or(tie, n.facts(a, unable).ambiguity(n.priority))
	}
	var views []peerView
	for _, p := range n.table.peers {
		v := peerView{addr: bareAddr(p.Addr.Addr()), name: p.Name, self: p.self, failed: p.failed}
		for _, a := range n.addresses {
			h := p.about[a]
			v.alive = append(v.alive, h != nil && h.alive)
			v.heard = v.heard || h != nil
		}
		views = append(views, v)
	}
	n.mu.Unlock()

	if still > 0 {
		n.options.Journal.Tell(stoodStill, zap.Duration("gap", still))
	}
	fail(r.receiving, unreceived, receiver)
	fail(r.tie, ambiguous, tie)
	for why, s := range samples {
		r.refuse(reason(why), s)
	}
	r.count(priority)
	present := map[netip.Addr]bool{}
	for _, v := range views {
		present[v.addr] = true
		r.peer(v, settled)
	}
	for addr, p := range r.peers {
		if !present[addr] {
			r.gone(addr, p)
		}
	}
}

// fail tells a condition that lasts while there is an error.
func fail(c *journal.Condition, k journal.Kind, err error, fields ...zap.Field) {
	if err != nil {
		c.Fail(k, err, fields...)
	} else {
		c.Clear(fields...)
	}
}

// refuse tells that datagrams were refused for a reason, or are no more.
func (r *reporter) refuse(why reason, s sample) {
	switch {
	case why == accepted || s.at.IsZero():
	case time.Since(s.at) < quiet:
		if !r.refused[why].Holds() {
			r.refused[why].Fail(refusals[why].kind, errors.New(refusals[why].text), zap.Stringer("peer", s.from))
		}
	default:
		r.refused[why].Clear()
	}
}

func (r *reporter) count(priority int) {
	n := r.node
	for why := range reasons {
		now := n.counts[why].Load()
		n.options.Metrics.count1(why, now-r.counted[why])
		r.counted[why] = now
	}
	sent, failed := n.sent.Load(), n.failed.Load()
	n.options.Metrics.count(sent-r.sent, failed-r.failed, priority)
	r.sent, r.failed = sent, failed
}

// peer tells what has become of a peer. Before the first decisions none is dead.
func (r *reporter) peer(v peerView, settled bool) {
	n := r.node
	p := r.peers[v.addr]
	if p == nil {
		p = &peerReport{living: n.options.Journal.Condition(), unreachable: n.options.Journal.Condition()}
		r.peers[v.addr] = p
	}
	p.name = v.name
	fields := []zap.Field{zap.String("peer", v.name)}
	if v.name != v.addr.String() {
		fields = append(fields, zap.Stringer("peer-address", v.addr))
	}
	if v.self {
		if !p.self {
			n.options.Journal.Tell(peerSelf, fields...)
		}
		p.living.Drop()
		p.unreachable.Drop()
	}
	p.self = v.self
	if v.self {
		for _, a := range n.addresses {
			n.options.Metrics.gone(a.String(), v.addr.String())
		}
		return
	}
	var silent []string
	for i, a := range n.addresses {
		if v.self {
			n.options.Metrics.gone(a.String(), v.addr.String())
			continue
		}
		n.options.Metrics.peer(a.String(), v.addr.String(), v.alive[i])
		if !v.alive[i] {
			silent = append(silent, a.String())
		}
	}
	fail(p.unreachable, peerUnreachable, v.failed, fields...)
	if v.heard && !p.heard {
		n.options.Journal.Tell(peerHeard, fields...)
		p.heard = true
	}
	switch {
	case len(silent) == 0:
		p.living.Clear(fields...)
	case !settled:
	case len(silent) < len(n.addresses):
		p.living.Fail(peerPartial, fmt.Errorf("not heard about %s", strings.Join(silent, ", ")), fields...)
	default:
		p.living.Fail(peerDead, fmt.Errorf("not heard for %v", n.dead), fields...)
	}
}

func (r *reporter) gone(addr netip.Addr, p *peerReport) {
	p.living.Drop()
	p.unreachable.Drop()
	for _, a := range r.node.addresses {
		r.node.options.Metrics.gone(a.String(), addr.String())
	}
	delete(r.peers, addr)
}

func (r *reporter) drop() {
	for _, c := range r.refused {
		c.Drop()
	}
	r.receiving.Drop()
	r.tie.Drop()
	for addr, p := range r.peers {
		r.gone(addr, p)
	}
}
