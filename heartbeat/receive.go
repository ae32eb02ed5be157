package heartbeat

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// batch is how many datagrams the receiver takes before others may: a flood must not keep
// a write waiting.
const batch = 64

// waiting is more than the kernel stores for the socket.
const waiting = 1 << 16

// receivePause is how long the receiver waits after an error of the socket.
const receivePause = 100 * time.Millisecond

// receive takes datagrams until ctx ends. No error of the socket ends it.
func (n *Node) receive(ctx context.Context) error {
	for {
		err := n.conn.Wait(ctx)
		for more := true; more && err == nil && ctx.Err() == nil; {
			more, err = n.drain(batch)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n.received(err)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(receivePause):
			}
		}
	}
}

// received notes whether the socket can be read.
func (n *Node) received(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if (err == nil) != (n.receiver == nil) {
		signal(n.news)
	}
	n.receiver = err
}

// drain takes the datagrams that wait, up to a number, and reports whether more may.
func (n *Node) drain(limit int) (more bool, err error) {
	n.reading.Lock()
	defer n.reading.Unlock()
	for range limit {
		size, from, to, err := n.conn.Receive(n.buffer[:])
		if errors.Is(err, ErrEmpty) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		why := wrongLength
		if size < len(n.buffer) {
			why = n.take(n.buffer[:size], bareAddr(from.Addr()), bareAddr(to))
		}
		n.counts[why].Add(1)
		if why != accepted {
			n.refused(why, from)
		}
	}
	return true, nil
}

// refused notes a datagram for the report, which has a rhythm of its own: a flood costs
// no line and no memory.
func (n *Node) refused(why reason, from netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.samples[why] = sample{from: from, at: time.Now()}
}

// take takes a datagram that was sent from one address to another, and returns why it is
// refused, or accepted.
func (n *Node) take(b []byte, from, to netip.Addr) reason {
	m, body, trailer, why := parse(b)
	if why != accepted {
		return why
	}
	n.mu.Lock()
	p := n.table.by[from]
	self := p != nil && p.self
	n.mu.Unlock()
	ours := slices.Contains(n.addresses, m.address)
	switch {
	case self:
		return ownSource
	case !ours && p == nil:
		return unknownSource
	case !ours:
		return otherAddress
	}
	counter, why := n.authentic(body, trailer, from, to)
	if p == nil {
		if why == accepted {
			signal(n.unknown)
		}
		return unknownSource
	}
	if why != accepted {
		return why
	}
	return n.hear(m, from, to, counter)
}

// authentic returns the counter of a datagram, 0 for one without, and why the datagram is
// not to be believed, or accepted.
func (n *Node) authentic(body, trailer []byte, from, to netip.Addr) (uint64, reason) {
	switch {
	case n.options.Key == nil && trailer != nil:
		return 0, signedWithoutKey
	case n.options.Key == nil:
		return 0, accepted
	case trailer == nil && !n.options.Rollover:
		return 0, unsigned
	case trailer == nil:
		return 0, accepted
	}
	counter, ok := verify(n.options.Key, body, trailer, from, to)
	if !ok {
		return 0, wrongSignature
	}
	return counter, accepted
}

// hear takes an authentic message. counter is 0 for one that is not signed.
func (n *Node) hear(m message, from, to netip.Addr, counter uint64) reason {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.table.by[from]
	switch {
	case p == nil: // removed meanwhile
		return unknownSource
	case slices.Contains(n.ids, m.id):
		return ownID
	case counter != 0 && !n.counters.accept(from, counter):
		return replayed
	}
	if counter != 0 {
		signal(n.counted)
	}
	now := time.Now()
	h := p.about[m.address]
	if h == nil {
		h = &hearing{}
		p.about[m.address] = h
	}
	if to.IsValid() && !to.IsMulticast() && !to.IsUnspecified() && p.spoken != to {
		p.spoken = to
		signal(n.changed)
	}
	if !h.alive || h.id != m.id || h.priority != int(m.priority) {
		signal(n.changed)
	}
	h.heard, h.id, h.priority = now, m.id, int(m.priority)
	return accepted
}
