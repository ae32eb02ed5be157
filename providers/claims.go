package providers

import (
	"net/netip"
	"sync"
	"time"
)

// Claims remembers what this process has claimed, for a provider that can be told
// the owner of an address but cannot be asked for it. It is safe for concurrent use.
type Claims struct {
	repeat time.Duration

	mu   sync.Mutex
	made map[netip.Addr]time.Time
}

// NewClaims returns Claims that count for as long as repeat.
func NewClaims(repeat time.Duration) *Claims {
	return &Claims{repeat: repeat, made: map[netip.Addr]time.Time{}}
}

// Made records that addr was claimed just now.
func (c *Claims) Made(addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[addr] = time.Now()
}

// Ended forgets the claim of addr.
func (c *Claims) Ended(addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.made, addr)
}

// Holders tells, for lack of an API to ask, that this host has the addresses that it
// has claimed lately, and that the others have no holder, so that their claims are
// repeated.
func (c *Claims) Holders(addrs []netip.Addr, self string) map[netip.Addr]Holder {
	c.mu.Lock()
	defer c.mu.Unlock()
	holders := make(map[netip.Addr]Holder, len(addrs))
	for _, a := range addrs {
		h := Holder{Kind: Nobody, Object: a.String(), Assumed: true}
		if at, ok := c.made[a]; ok && time.Since(at) < c.repeat {
			h.Kind, h.Owner = Mine, self
		}
		holders[a] = h
	}
	return holders
}
