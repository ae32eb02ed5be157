//go:build linux

package netif

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
)

var errDemoted = errors.New("demoted")

// options of an interface whose lease lasts for an hour.
func options(t *testing.T) Options {
	end := time.Now().Add(time.Hour)
	return Options{
		Name: "eth0", Managed: []netip.Prefix{v4, v6},
		Announce:  Announce{Count: 5, Interval: time.Second, Refresh: time.Minute},
		End:       func() time.Time { return end },
		Elsewhere: func(netip.Prefix) bool { return false },
		Log:       zaptest.NewLogger(t),
	}
}

// running opens an interface and runs it until the test ends.
func running(t *testing.T, w *world, o Options) *Interface {
	i := w.open(t, o)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: want %v, got %v", context.Canceled, err)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// hold holds addresses; end ends that and waits for it.
func hold(t *testing.T, i *Interface, addrs ...netip.Prefix) (end func(cause error)) {
	t.Helper()
	// That of the test ends before its cleanups.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	bound, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- i.Hold(ctx, addrs, func() { close(bound) }) }()
	select {
	case <-bound:
	case err := <-done:
		t.Fatalf("want %v bound, got %v", addrs, err)
	}
	ended := false
	end = func(cause error) {
		t.Helper()
		if ended {
			return
		}
		ended = true
		cancel(cause)
		if err := <-done; !errors.Is(err, cause) {
			t.Errorf("want the Hold to end with %v, got %v", cause, err)
		}
	}
	t.Cleanup(func() { end(errDemoted) })
	return end
}

// next takes the next change of an address.
func (w *world) next(t *testing.T, p netip.Prefix, added bool) time.Time {
	t.Helper()
	select {
	case c := <-w.changes:
		if c.prefix != p || c.added != added {
			t.Fatalf("want %v added=%v, got %v added=%v", p, added, c.prefix, c.added)
		}
		return c.at
	case <-time.After(20 * time.Second):
		t.Fatalf("want %v added=%v, got nothing; there is: %s", p, added, w.has())
	}
	panic("unreachable")
}

func TestHoldBindsAndUnbinds(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		end := hold(t, i, v4, v6)
		if got, want := w.has(), "192.0.2.254/32 2001:db8::254/128"; got != want {
			t.Errorf("held: want %q, got %q", want, got)
		}
		end(errDemoted)
		if got := w.has(); got != "" {
			t.Errorf("not held any more: want nothing, got %q", got)
		}
	})
}

func TestDeletedBehindTheBackIsPutBack(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		hold(t, i, v4)
		hold(t, i, v6)
		w.next(t, v4, true)
		w.next(t, v6, true)
		for _, p := range []netip.Prefix{v4, v6} {
			w.remove(p)
			gone := w.next(t, p, false)
			t.Logf("%v was away for %v", p, w.next(t, p, true).Sub(gone))
		}
	})
}
