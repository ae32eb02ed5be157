package run

import (
	"context"
	"os"
	"os/signal"
)

// Signals are the signals of a kind that have arrived since Catch, as one. None of them
// does what signal(7) says, until Release.
type Signals chan os.Signal

// Catch keeps the signals of a kind for a task. The caller calls Release in the end.
func Catch(sig os.Signal) Signals {
	s := make(Signals, 1)
	signal.Notify(s, sig)
	return s
}

// Release has the signals do again what signal(7) says.
func (s Signals) Release() { signal.Stop(s) }

// Task returns a task that calls f for the signals. Those that arrive while f runs are one,
// and so are those that have arrived before the task runs.
func (s Signals) Task(name string, f func(ctx context.Context)) Task {
	return Task{Name: name, Run: func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-s:
				f(ctx)
			}
		}
	}}
}

// OnSignal returns a task that calls f for each signal of a kind, from this call on, as
// Task of Signals. After the task the signal does what signal(7) says.
func OnSignal(name string, sig os.Signal, f func(ctx context.Context)) Task {
	s := Catch(sig) // a signal before the task runs must not end the process
	t := s.Task(name, f)
	return Task{Name: name, Run: func(ctx context.Context) error {
		defer s.Release()
		return t.Run(ctx)
	}}
}
