package heartbeat

import (
	"net/netip"
	"time"
)

// Outranked reports whether a living peer ranks before this host for an address. Where two
// hosts are both unable to be the owner, exactly one of them is outranked.
func (n *Node) Outranked(address netip.Addr) bool {
	unable := n.unable()
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.facts(bareAddr(address), unable)
	for _, p := range f.peers {
		if p.lives(f.now, f.dead) && f.before(p) != "" {
			return true
		}
	}
	return false
}

// HoldOff returns for how long after its start this host only hears its peers.
func (n *Node) HoldOff() time.Duration { return n.dead + slack }
