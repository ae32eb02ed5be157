package heartbeat

import (
	"net/netip"
	"slices"
	"time"
)

// table has the peers. It belongs to its node.
type table struct {
	by    map[netip.Addr]*peer // by the addresses from which they send
	peers []*peer              // in the order of their addresses; replaced, never changed
}

// peer is what is known of a peer.
type peer struct {
	Peer
	routed netip.Addr // address of this host from which it reaches the peer, invalid while unknown
	spoken netip.Addr // address of this host to which the peer sends, invalid while unknown
	self   bool       // it is this host
	failed error      // why the newest datagram could not be sent to it
	about  map[netip.Addr]*hearing
}

// hearing is what a peer said last about an address.
type hearing struct {
	heard    time.Time
	id       ID
	priority int
	alive    bool // as the newest decision found it
}

func (h *hearing) lives(now time.Time, dead time.Duration) bool {
	return neighbour{heard: h.heard}.lives(now, dead)
}

// own returns the address of this host from which it sends to the peer. That to which the
// peer sends is the one that it knows, and from another it might accept nothing.
func (p *peer) own() netip.Addr {
	if p.spoken.IsValid() {
		return p.spoken
	}
	return p.routed
}

// set replaces the peers and keeps the state of those that stay.
func (t *table) set(peers []Peer) {
	former := t.by
	t.by, t.peers = map[netip.Addr]*peer{}, nil
	for _, p := range peers {
		p.Addr = netip.AddrPortFrom(p.Addr.Addr().Unmap(), p.Addr.Port())
		if p.Name == "" {
			p.Name = p.Addr.Addr().String()
		}
		key := bareAddr(p.Addr.Addr())
		if t.by[key] != nil {
			continue
		}
		known := former[key]
		if known == nil {
			known = &peer{about: map[netip.Addr]*hearing{}}
		}
		known.Peer = p
		t.by[key] = known
		t.peers = append(t.peers, known)
	}
	slices.SortFunc(t.peers, func(a, b *peer) int { return a.Addr.Compare(b.Addr) })
}

// neighbours returns the peers that are not this host, as an address is concerned.
func (t *table) neighbours(address netip.Addr) []neighbour {
	list := make([]neighbour, 0, len(t.peers))
	for _, p := range t.peers {
		if p.self {
			continue
		}
		n := neighbour{name: p.Name, addr: bareAddr(p.Addr.Addr()), own: p.own()}
		if h := p.about[address]; h != nil {
			n.heard, n.id, n.priority = h.heard, h.id, h.priority
		}
		list = append(list, n)
	}
	return list
}
