package providers_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/providers"
)

func TestSharedWorkRunsOncePerKeyAndGoesOnForThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s providers.Shared[string, int]
		var mu sync.Mutex
		runs := 0
		work := func(ctx context.Context) (int, error) {
			mu.Lock()
			runs++
			n := runs
			mu.Unlock()
			select {
			case <-time.After(time.Second):
				return n, nil
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
		reason := errors.New("demoted")
		first, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.Do(first, "k", work); !errors.Is(err, reason) {
				t.Errorf("who leaves: want %v, got %v", reason, err)
			}
		})
		synctest.Wait()
		for range 5 {
			wg.Go(func() {
				if n, err := s.Do(t.Context(), "k", work); n != 1 || err != nil {
					t.Errorf("who stays: want the first run's result, got %d, %v", n, err)
				}
			})
		}
		wg.Go(func() {
			if n, err := s.Do(t.Context(), "other", work); n != 2 || err != nil {
				t.Errorf("another key: want a run of its own, got %d, %v", n, err)
			}
		})
		synctest.Wait()
		cancel(reason)
		wg.Wait()
		if n, err := s.Do(t.Context(), "k", work); n != 3 || err != nil {
			t.Errorf("afterwards: want a new run, got %d, %v", n, err)
		}
	})
}

func TestSharedWorkLeftByAllIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s providers.Shared[string, string]
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			s.Do(ctx, "k", func(ctx context.Context) (string, error) {
				<-ctx.Done()
				time.Sleep(time.Second) // takes its time to end
				return "", context.Cause(ctx)
			})
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		got, err := s.Do(t.Context(), "k", func(context.Context) (string, error) { return "new", nil })
		if got != "new" || err != nil {
			t.Errorf("want a new run, got %q, %v", got, err)
		}
		wg.Wait()
		if _, err := s.Do(ctx, "k", func(context.Context) (string, error) {
			t.Error("work began for a caller that had left")
			return "", nil
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("want context.Canceled, got %v", err)
		}
	})
}
