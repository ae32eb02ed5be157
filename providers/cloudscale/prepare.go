package cloudscale

import (
	"context"

	"berth/providers"
)

var _ providers.Preparer = (*Client)(nil)

// Prepare asks the metadata service for the own server and lists the floating
// IPs, each only if neither this process nor the cache on disk knows it.
func (c *Client) Prepare(ctx context.Context) error {
	if _, _, err := c.ownServer(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	known := c.objects != nil
	c.mu.Unlock()
	if known {
		return nil
	}
	_, err := c.listing.Do(ctx, struct{}{}, c.list)
	return asError(ctx, opList, err)
}
