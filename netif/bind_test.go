package netif

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestACallOfBindThatEndsWhileItBindsLeavesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		ctx, cancel := context.WithCancelCause(t.Context())
		b.k.before = func() { cancel(errDemoted) }
		err := b.i.Bind(ctx, []netip.Prefix{v4, v6}, func() { t.Error("want bound not called") })
		if !errors.Is(err, errDemoted) {
			t.Errorf("want %v, got %v", errDemoted, err)
		}
		wantEqual(t, "", b.has())
		if got := announced(b.heard(), v4.Addr()); got > 0 {
			t.Errorf("want no announcement, got %d", got)
		}
		// A call whose context has ended before removes the address that it would adopt.
		b.add(v4)
		if err := b.i.Bind(ctx, []netip.Prefix{v4}, nil); !errors.Is(err, errDemoted) {
			t.Errorf("want %v, got %v", errDemoted, err)
		}
		wantEqual(t, "", b.has())
	})
}

func TestBindFails(t *testing.T) {
	refused := errors.New("operation not permitted")
	for _, tt := range []struct {
		name  string
		spoil func(*bubble)
		addr  netip.Prefix
		want  string
	}{
		{"too little is left of the lease", func(b *bubble) { b.lease.set(2200 * time.Millisecond) }, v4, "bind 192.0.2.254/32 to eth0: what is left of the lease is too short"},
		{"the kernel refuses", func(b *bubble) { b.k.alter(func() { b.k.fail = refused }) }, v4, "bind 192.0.2.254/32 to eth0: " + refused.Error()},
		{"the kernel does not answer", func(b *bubble) { b.k.alter(func() { b.k.blind = refused }) }, v4, "read the addresses of eth0: " + refused.Error()},
		{"an address that is not managed", func(*bubble) {}, netip.MustParsePrefix("192.0.2.1/32"), "bind 192.0.2.1/32 to eth0: it is not among the managed addresses"},
	} {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			tt.spoil(b)
			err := b.i.Bind(t.Context(), []netip.Prefix{tt.addr}, func() { t.Error("want bound not called") })
			if err == nil || err.Error() != tt.want {
				t.Errorf("%s: want %q, got %v", tt.name, tt.want, err)
			}
			b.k.alter(func() { b.k.fail, b.k.blind = nil, nil })
			b.lease.set(5 * time.Second)
			bind(t, b.i, v4, v6)
		})
	}
}

func TestAProcessThatWasStoppedBeforeTheKernelBinds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stall time.Duration
		err   error
	}{
		{"for a second, so that less is left", time.Second, nil},
		{"until too little is left", 3 * time.Second, errTooLate},
		{"until after the end", 6 * time.Second, errTooLate},
	} {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			// A process that was stopped has that much less left.
			b.k.before = func() { b.lease.set(5*time.Second - tt.stall) }
			ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
			err := b.i.Bind(ctx, []netip.Prefix{v4}, func() { cancel(nil) })
			if tt.err == nil {
				wantEqual(t, []string{"0s:3", "0s:2"}, b.binds())
			} else if !errors.Is(err, tt.err) {
				t.Errorf("%s: want %v, got %v", tt.name, tt.err, err)
			}
			wantEqual(t, "", b.has())
		})
	}
}

func TestWhatWasHandedOverIsNotRemovedUntilItWasBoundAgain(t *testing.T) {
	inBubble(t, func(o *Options) { o.Elsewhere = func(netip.Prefix) bool { return true } }, func(t *testing.T, b *bubble) {
		bind(t, b.i, v4)(ErrLeave)
		b.until(time.Second)
		wantEqual(t, "192.0.2.254/32", b.has())
		bind(t, b.i, v4)(errDemoted)
		b.add(v4)
		b.until(2 * time.Second)
		wantEqual(t, "", b.has())
	})
}

func TestTheEndOfBindRemovesWhatAConflictLeft(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		end := bind(t, b.i, v4)
		wide := netip.MustParsePrefix("192.0.2.254/24")
		b.add(wide)
		b.until(100 * time.Millisecond)
		b.add(wide)
		b.until(200 * time.Millisecond)
		wantEqual(t, "192.0.2.254/24 192.0.2.254/32", b.has()) // for the rest of the second
		end(errDemoted)
		wantEqual(t, "", b.has())
	})
}

func TestAnAddressThatCannotBeRemovedFailsItsOwnCallAlone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		ctx, cancel := context.WithCancelCause(t.Context())
		var bound sync.WaitGroup
		errs := map[netip.Prefix]chan error{v4: make(chan error, 1), v6: make(chan error, 1)}
		for p, err := range errs {
			bound.Add(1)
			go func() { err <- b.i.Bind(ctx, []netip.Prefix{p}, bound.Done) }()
		}
		bound.Wait()
		b.k.alter(func() { b.k.stuck = v4 })
		b.i.mu.Lock() // both wait for the lock, and are served at once
		cancel(errDemoted)
		b.i.untilWaiting(2)
		b.i.mu.Unlock()
		if err := <-errs[v4]; !errors.Is(err, errDemoted) || !strings.Contains(err.Error(), "remove [192.0.2.254/32] from eth0: still there") {
			t.Errorf("want the cause and the address that is still there, got %v", err)
		}
		if err := <-errs[v6]; err != errDemoted {
			t.Errorf("want the cause alone, got %v", err)
		}
	})
}

func TestAnAddressThatCannotBeRemovedAtTheEndOfTheLeaseIsToldOnceAndRemovedLater(t *testing.T) {
	j, lines := said()
	inBubble(t, func(o *Options) { o.Journal = j }, func(t *testing.T, b *bubble) {
		b.k.late = time.Hour
		bind(t, b.i, v4)
		b.k.alter(func() { b.k.stuck = v4 })
		b.until(6 * time.Second)
		wantEqual(t, []string{leaseEnds.Text, unremoved.Text}, lines())
		b.k.alter(func() { b.k.stuck = netip.Prefix{} })
		b.until(7 * time.Second)
		wantEqual(t, []string{unremoved.Over}, lines())
		wantEqual(t, "", b.has())
	})
}

// The end of the call of Bind does not end the failure while the address is there.
func TestAnAddressThatCannotBeRemovedIsToldUntilItIsGone(t *testing.T) {
	j, lines := said()
	inBubble(t, func(o *Options) { o.Journal = j }, func(t *testing.T, b *bubble) {
		b.k.late = time.Hour
		end := bind(t, b.i, v4)
		b.k.alter(func() { b.k.stuck = v4 })
		b.until(6 * time.Second)
		wantEqual(t, []string{leaseEnds.Text, unremoved.Text}, lines())
		end(errDemoted)
		b.until(8 * time.Second)
		wantEqual(t, nil, lines())
		wantEqual(t, v4.String(), b.has())
		b.k.alter(func() { b.k.remove(v4, true) })
		b.until(9 * time.Second)
		wantEqual(t, []string{unremoved.Over}, lines())
	})
}
