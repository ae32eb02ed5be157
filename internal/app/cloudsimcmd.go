package app

import (
	"context"

	"berth/internal/cloudsim"
)

// Cloudsim runs the provider simulator on loopback until ctx ends.
func (o *Options) Cloudsim(ctx context.Context, listen, token string) error {
	return cloudsim.Run(ctx, cloudsim.RunOptions{Listen: listen, Token: token, Log: o.Logger(), Out: o.Stdout})
}
