package witness_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/witness"
)

// An owner that etcd does not acknowledge would keep a peer out that etcd would.
func TestAHostWithoutALeaseIsNotAbleUntilItHasOne(t *testing.T) {
	for name, presumed := range map[string]time.Duration{"started anew": 0, "adopts a lease": 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex // guards end
			var end time.Time
			renew := func(left time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				end = time.Now().Add(left)
			}
			l := witness.NewLease()
			if holds, _ := l.State(); holds {
				t.Error("holds before it is followed")
			}
			l.Follow(func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return end
			}, time.Second, time.Now().Add(presumed))
			is := func(when string, want bool) {
				t.Helper()
				if holds, reason := l.State(); holds != want || holds == (reason != "") {
					t.Errorf("%s, %s: got %t %q", name, when, holds, reason)
				}
			}
			is("before it runs", presumed > 0)
			ctx, stop := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() { done <- l.Run(ctx) }()
			time.Sleep(14500 * time.Millisecond)
			is("before the end of an adopted lease", presumed > 0)
			time.Sleep(2 * time.Second)
			is("without a lease", false)
			renew(15 * time.Second)
			time.Sleep(time.Second)
			is("with a lease", true)
			time.Sleep(13 * time.Second)
			is("before its end", true)
			time.Sleep(2500 * time.Millisecond)
			is("after its end", false)
			renew(15 * time.Second)
			time.Sleep(1200 * time.Millisecond)
			is("with another lease", true)
			stop(errOver)
			if err := <-done; err != errOver {
				t.Errorf("got %v, want the cause", err)
			}
		})
	}
}
