package exoscale

import (
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"berth/providers"
)

// maxTold bounds how many instances that SetPeers tells are looked at: each costs a
// call at each observation. Another instance is left to the filter and the audit.
const maxTold = 32

var _ providers.Peered = (*Client)(nil)

// SetPeers adds instances to those that the key peers names. Without that key, the
// filter and the audit find further instances, as they do without SetPeers.
func (c *Client) SetPeers(ids []string) {
	var told []string
	for _, id := range ids {
		if providers.IsUUID(id) {
			told = append(told, strings.ToLower(id))
		}
	}
	slices.Sort(told)
	told = slices.Compact(told)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = slices.DeleteFunc(told, func(id string) bool { return id == c.self.instance })
	c.told = c.told[:min(maxTold, len(c.told))]
	maps.DeleteFunc(c.strange, func(id string, _ bool) bool { return !slices.Contains(c.told, id) })
}

// sayStrange says once of an id that was told that no instance has it.
func (c *Client) sayStrange(id string) {
	c.mu.Lock()
	say := slices.Contains(c.told, id) && !c.strange[id]
	if say {
		c.strange[id] = true
	}
	c.mu.Unlock()
	if say {
		c.Journal.Tell(peerUnknown, zap.String("id", id))
	}
}

// known returns the instances that were named or told to be possible other holders.
// It is called with mu held.
func (c *Client) known() map[string]bool {
	return set(append(slices.Clone(c.peers), c.told...))
}
