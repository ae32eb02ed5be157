package testnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// A Rig is the part that all labs share: nodes with one bell, the output of their
// processes, and what ends with the lab. The zero value is ready; its methods are safe
// for concurrent use.
type Rig struct {
	bell Bell

	mu    sync.Mutex
	logs  []*Log
	close []func() error
}

// Bell returns the bell of the nodes. Whatever changes the state of the lab rings it.
func (r *Rig) Bell() *Bell { return &r.bell }

// Node starts a node that ends with the rig.
func (r *Rig) Node(name string) (*Node, error) {
	n, err := New(name, &r.bell)
	if err != nil {
		return nil, err
	}
	r.OnClose(n.Close)
	r.Record(n.Console)
	return n, nil
}

// Record adds the output of a process to Logs.
func (r *Rig) Record(log *Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, log)
}

// Logs returns all output of all processes so far.
func (r *Rig) Logs() []*Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.logs)
}

// OnClose adds a step to Close, which takes the newest step first.
func (r *Rig) OnClose(f func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close = append(r.close, f)
}

// Close ends everything. It may be called more than once.
func (r *Rig) Close() error {
	r.mu.Lock()
	steps := r.close
	r.close = nil
	r.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(steps) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// Wait waits for cond, which it evaluates again after everything that happens in the
// lab. what completes the sentence "waited for ...", for the error.
func (r *Rig) Wait(ctx context.Context, what string, cond func() bool) error {
	if err := r.bell.Wait(ctx, cond); err != nil {
		return fmt.Errorf("waited for %s: %w", what, err)
	}
	return nil
}
