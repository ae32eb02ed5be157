package app

import (
	"context"
	"os"
	"os/signal"
)

// onSignal calls f for each signal of a kind until ctx ends, and returns its
// cause.
func onSignal(ctx context.Context, sig os.Signal, f func()) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, sig)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-signals:
			f()
		}
	}
}
