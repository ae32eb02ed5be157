package heartbeat

import (
	"context"
	"net/netip"
	"time"
)

// resignations are how often, and over what time, this host says that it resigns.
const (
	resignations = 3
	resignPause  = 40 * time.Millisecond
)

// send sends heartbeats until ctx ends: at once, then each interval with a jitter of a
// tenth, so that the hosts of a group do not send in step, and at once when what they say
// has changed.
func (n *Node) send(ctx context.Context) error {
	select {
	case <-n.due: // the first round says all
	default:
	}
	timer := time.NewTimer(n.options.Interval)
	defer timer.Stop()
	for {
		begun := time.Now()
		n.round()
		jitter := time.Duration((n.random() - 0.5) / 5 * float64(n.options.Interval))
		timer.Reset(time.Until(begun.Add(n.options.Interval + jitter)))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case <-n.due:
		}
	}
}

// heartbeat is what is sent to a peer.
type heartbeat struct {
	peer     *peer
	to       netip.AddrPort
	own      netip.Addr
	messages []message
}

// round sends the heartbeats of one interval.
func (n *Node) round() {
	unable := n.unable()
	n.mu.Lock()
	n.beat()
	peers := n.table.peers
	n.mu.Unlock()
	for _, p := range peers {
		// The address of a peer never changes while it is in the table; its port may.
		n.route(p)
	}
	for _, h := range n.heartbeats(peers, unable != "") {
		var failure error
		for _, m := range h.messages {
			for _, b := range n.forms(m, h.own, bareAddr(h.to.Addr())) {
				if err := n.conn.Send(b, h.own, h.to); err != nil {
					failure = err
					n.failed.Add(1)
				} else {
					n.sent.Add(1)
				}
			}
		}
		n.reached(h.peer, failure)
	}
}

// beat takes up the pulse: after a standstill for as long as the peers wait, it is as after
// a start. It is called with mu held.
func (n *Node) beat() {
	gap := n.pulse.beat()
	if gap < n.dead {
		return
	}
	n.still, n.hold = gap, hold{until: time.Now().Add(n.dead + slack)}
	if len(n.told) > 0 {
		n.hold.reason = "this process did not run for " + gap.Round(time.Millisecond).String()
	}
	signal(n.changed)
	signal(n.news)
}

// route finds the address of this host from which it reaches a peer. Interfaces come and
// go, so it is asked each time.
func (n *Node) route(p *peer) {
	n.mu.Lock()
	addr := p.Addr.Addr()
	n.mu.Unlock()
	own, self, err := n.conn.Local(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	if self != p.self || own != p.routed {
		signal(n.changed)
		signal(n.news)
	}
	p.routed, p.self = own, self
	if err != nil {
		p.fail(n, err)
	}
}

// heartbeats returns what is to be sent now.
func (n *Node) heartbeats(peers []*peer, unable bool) []heartbeat {
	n.mu.Lock()
	defer n.mu.Unlock()
	var messages []message
	for _, a := range n.addresses {
		messages = append(messages, message{address: a, priority: uint8(n.advertised(a, unable)), id: n.id()})
	}
	var list []heartbeat
	for _, p := range peers {
		if !p.self && p.own().IsValid() {
			list = append(list, heartbeat{p, p.Addr, p.own(), messages})
		}
	}
	return list
}

// forms returns a message in each form in which it is sent.
func (n *Node) forms(m message, own, peer netip.Addr) [][]byte {
	plain := m.append(make([]byte, 0, maxSize))
	if n.options.Key == nil {
		return [][]byte{plain}
	}
	n.mu.Lock()
	counter, due := n.counters.take()
	n.mu.Unlock()
	if due {
		signal(n.counted)
	}
	signed := sign(n.options.Key, m.append(make([]byte, 0, maxSize)), counter, own, peer)
	if n.options.Rollover {
		return [][]byte{plain, signed}
	}
	return [][]byte{signed}
}

// reached notes whether datagrams could be sent to a peer.
func (n *Node) reached(p *peer, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		p.spoken = netip.Addr{} // it may be an address that this host has no more
	}
	p.fail(n, err)
}

// fail notes why nothing can be sent to a peer, nil if it can. It is called with mu held.
func (p *peer) fail(n *Node, err error) {
	if (err == nil) != (p.failed == nil) {
		signal(n.news)
	}
	p.failed = err
}

// unable returns why this host may be the owner of nothing, "" if it may.
func (n *Node) unable() string {
	if n.options.Able == nil {
		return ""
	}
	holds, reason := n.options.Able.State()
	switch {
	case holds:
		return ""
	case reason == "":
		return "a condition does not hold"
	}
	return reason
}

// Resign tells all peers, three times within 100 ms, that this host ranks behind them. It is
// called after Run has returned and what this host held has ended.
func (n *Node) Resign(ctx context.Context) {
	n.mu.Lock()
	n.resigned = true
	n.mu.Unlock()
	for i := range resignations {
		if i > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(resignPause):
			}
		}
		n.round()
	}
}
