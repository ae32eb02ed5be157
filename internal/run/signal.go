package run

import (
	"context"
	"os"
	"os/signal"
)

// OnSignal returns a task that calls f for each signal of a kind. Signals that arrive
// while f runs are one, and so are those that arrive before the task runs, from this call
// on. After the task the signal does what signal(7) says.
func OnSignal(name string, sig os.Signal, f func(ctx context.Context)) Task {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, sig) // a signal before the task runs must not end the process
	return Task{Name: name, Run: func(ctx context.Context) error {
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
