// Package run runs the parts of a process beside each other and waits for them.
package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Task is a part of a process.
type Task struct {
	// Name, such as "fifo", stands before the error of the part.
	Name string
	// Run blocks until ctx ends, or until the part cannot go on or is done; it then has
	// stopped everything that it started.
	Run func(ctx context.Context) error
	// Ready waits until the part does what the host relies on, or until ctx ends. It is
	// nil where there is nothing to wait for.
	Ready func(ctx context.Context)
}

// Ready returns when each of the tasks is ready that has something to become ready
// for, or when ctx ends. The tasks must be running.
func Ready(ctx context.Context, tasks ...Task) {
	var waiting sync.WaitGroup
	for _, t := range tasks {
		if t.Ready != nil {
			waiting.Go(func() { t.Ready(ctx) })
		}
	}
	waiting.Wait()
}

// ErrOtherEnded is the cause with which a task's context ends because another task
// has ended.
var ErrOtherEnded = errors.New("another part of berth has ended")

// Together runs all tasks and returns after the last has ended. The first that
// ends on its own, with an error or without, ends the others; its error, with its
// name, is returned. When ctx ends first, the error is that of the first task to
// end, which is usually the cause, without a name.
func Together(ctx context.Context, tasks ...Task) error {
	return run(ctx, tasks, func(error) bool { return true })
}

// All runs all tasks and returns after the last has ended. The first that fails
// ends the others; its error is returned as by Together.
func All(ctx context.Context, tasks ...Task) error {
	return run(ctx, tasks, func(err error) bool { return err != nil })
}

func run(parent context.Context, tasks []Task, final func(error) bool) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	type result struct {
		name string
		err  error
	}
	results := make(chan result, len(tasks))
	for _, t := range tasks {
		go func() { results <- result{t.Name, t.Run(ctx)} }()
	}
	var first error
	ended := false
	for range tasks {
		r := <-results
		if ended || !final(r.err) {
			continue
		}
		ended = true
		first = r.err
		if first != nil && parent.Err() == nil {
			first = fmt.Errorf("%s: %w", r.name, first)
		}
		cancel(ErrOtherEnded)
	}
	return first
}
