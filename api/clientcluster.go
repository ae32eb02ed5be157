package api

import (
	"context"
	"net/http"

	"berth/internal/cluster"
)

// Cluster returns the cluster as the berth at the URL sees it.
func (c *Client) Cluster(ctx context.Context) (v cluster.View, err error) {
	err = c.call(ctx, http.MethodGet, "/cluster", nil, &v)
	return v, err
}
