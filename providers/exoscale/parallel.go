package exoscale

import (
	"context"
	"sync"
)

// parallel runs work for 0 to n-1, at most atOnce at a time. After an error no
// more is begun and what runs is broken off; the first error is returned when all
// have ended.
func parallel(ctx context.Context, atOnce, n int, work func(ctx context.Context, i int) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex // guards next and first
	var first error
	next := 0
	var wg sync.WaitGroup
	for range min(atOnce, n) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				done := i >= n || first != nil
				mu.Unlock()
				if done {
					return
				}
				if err := work(ctx, i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
						stop()
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
