package exoscale

import (
	"slices"
	"strings"

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
}

// known returns the instances that were named or told to be possible other holders.
// It is called with mu held.
func (c *Client) known() map[string]bool {
	return set(append(slices.Clone(c.peers), c.told...))
}
