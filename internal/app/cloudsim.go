package app

import (
	"context"

	"berth/internal/cloudsim"
)

// CloudsimOptions are the flags of berth cloudsim.
type CloudsimOptions struct {
	Listen     string // loopback address and port
	Token      string
	Unfriendly bool   // bad habits, by chance
	Seed       uint64 // of the chances, 0 for a new one
}

// Cloudsim runs the provider simulator on loopback until ctx ends.
func (o *Options) Cloudsim(ctx context.Context, co CloudsimOptions) error {
	return cloudsim.Run(ctx, cloudsim.RunOptions{Listen: co.Listen, Token: co.Token,
		Unfriendly: co.Unfriendly, Seed: co.Seed, Journal: o.Journal(), Out: o.Stdout})
}
