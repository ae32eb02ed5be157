package run

import (
	"context"
	"os"
	"os/signal"
)

// OnSignal returns a task that calls f for each signal of a kind. Signals that arrive
// while f runs are one. While the task does not run the signal does what signal(7) says.
func OnSignal(name string, sig os.Signal, f func(ctx context.Context)) Task {
	return Task{Name: name, Run: func(ctx context.Context) error {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, sig)
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-signals:
				f(ctx)
			}
		}
	}}
}
