package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
)

var errDemoted = errors.New("demoted")

// options returns those of an interface whose lease lasts for an hour.
func options(t *testing.T) Options {
	end := time.Now().Add(time.Hour)
	return Options{
		Name: "eth0", Managed: []netip.Prefix{v4, v6},
		Announce:  Announce{Count: 5, Interval: time.Second, Refresh: time.Minute},
		End:       func() time.Time { return end },
		Elsewhere: func(netip.Prefix) bool { return false },
		Journal:   journal.New(zaptest.NewLogger(t)),
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

// bind binds addresses; end ends that and waits for it.
func bind(t *testing.T, i *Interface, addrs ...netip.Prefix) (end func(cause error)) {
	t.Helper()
	// The context of the test ends before its cleanups.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	bound, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- i.Bind(ctx, addrs, func() { close(bound) }) }()
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
			t.Errorf("want Bind to end with %v, got %v", cause, err)
		}
	}
	t.Cleanup(func() { end(errDemoted) })
	return end
}

// lastDefence returns when an address was last defended against programs of this host.
func lastDefence(i *Interface, p netip.Prefix) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if d := i.disputes[p.Addr()].local.defences; len(d) > 0 {
		return d[len(d)-1]
	}
	return time.Time{}
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

func TestBindBindsAndUnbinds(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		end := bind(t, i, v4, v6)
		if got, want := w.has(), "192.0.2.254/32 2001:db8::254/128"; got != want {
			t.Errorf("bound: want %q, got %q", want, got)
		}
		if err := i.Bind(t.Context(), []netip.Prefix{v4}, nil); err == nil {
			t.Error("want a refusal to bind an address twice, got none")
		}
		if got, want := i.Present(), []netip.Prefix{v4, v6}; !slices.Equal(got, want) {
			t.Errorf("want %v present, got %v", want, got)
		}
		end(errDemoted)
		if got := w.has(); got != "" {
			t.Errorf("after the end: want no address, got %q", got)
		}
	})
}

func TestCallsOfBindEndOneByOne(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		endV4 := bind(t, i, v4)
		bind(t, i, v6)
		endV4(errDemoted)
		if got, want := w.has(), "2001:db8::254/128"; got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	})
}

func TestAnUpgradeLeavesTheAddressesAndTheNextProcessAdoptsThem(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		o.Elsewhere = func(netip.Prefix) bool { return true } // the owner changes in the last moment
		i := running(t, w, o)
		end := bind(t, i, v4, v6)
		w.next(t, v4, true)
		w.next(t, v6, true)
		end(fmt.Errorf("signal: %w", ErrLeave))
		i.Moved()
		next := running(t, w, options(t))
		must(t, next.Sweep(func(netip.Prefix) bool { return true }))
		end = bind(t, next, v4, v6)
		end(errDemoted)
		w.next(t, v4, false) // and no change before it
		w.next(t, v6, false)
	})
}

func TestAnAddressThatAnotherProgramDeletesIsBoundAgain(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		bind(t, i, v4)
		bind(t, i, v6)
		w.next(t, v4, true)
		w.next(t, v6, true)
		for _, p := range []netip.Prefix{v4, v6} {
			w.remove(p)
			gone := w.next(t, p, false)
			t.Logf("%v was away for %v", p, w.next(t, p, true).Sub(gone))
		}
	})
}

func TestAnAddressThatAnotherProgramAddsIsRemovedWhenAnotherHostOwnsIt(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		var elsewhere atomic.Bool
		o := options(t)
		o.Elsewhere = func(netip.Prefix) bool { return elsewhere.Load() }
		i := running(t, w, o)
		w.add(v4)
		w.next(t, v4, true)
		w.wait("the address to be observed", func() bool { return slices.Equal(i.Present(), []netip.Prefix{v4}) })
		elsewhere.Store(true)
		i.Moved()
		w.next(t, v4, false)
		for _, p := range []netip.Prefix{v6, netip.MustParsePrefix("192.0.2.254/24")} {
			w.wait("a second between defences", func() bool { return time.Since(lastDefence(i, p)) > defenceGap })
			w.add(p)
			came := w.next(t, p, true)
			t.Logf("%v was there for %v", p, w.next(t, p, false).Sub(came))
		}
	})
}

func TestAnotherPrefixLengthOfABoundAddressIsRemoved(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		end := bind(t, i, v4)
		w.next(t, v4, true)
		wide := netip.MustParsePrefix("192.0.2.254/24")
		w.add(wide)
		w.next(t, wide, true)
		w.next(t, wide, false)
		if got, want := w.has(), "192.0.2.254/32"; got != want {
			t.Errorf("want %q, got %q", want, got)
		}
		end(errDemoted)
	})
}

// An address that an operator makes permanent would outlive the lease.
func TestALifetimeThatAnotherProgramRemovedIsSetAgain(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		bind(t, i, v4, v6)
		for _, p := range []netip.Prefix{v4, v6} {
			w.forever(p)
			w.wait("a limited lifetime", func() bool {
				return !slices.ContainsFunc(i.there(p), func(a address) bool { return a.valid == forever })
			})
		}
	})
}

func TestTheKernelRemovesTheAddressesOfAFrozenProcess(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		end := time.Now().Add(2500 * time.Millisecond)
		o.End = func() time.Time { return end }
		i := w.open(t, o) // and no Run, as in a frozen process
		bind(t, i, v4, v6)
		w.next(t, v4, true)
		w.next(t, v6, true)
		for range 2 {
			if c := <-w.changes; c.added || c.at.After(end) {
				t.Errorf("want %v gone by the end, got %v after it, added=%v", c.prefix, c.at.Sub(end), c.added)
			} else {
				t.Logf("%v went %v before the end", c.prefix, end.Sub(c.at))
			}
		}
	})
}

func TestLinkDownAndUp(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		bind(t, i, v4, v6)
		for _, tt := range []struct {
			why      string
			off, on  func()
			dropsIP6 bool
		}{
			{"interface eth0 is down", w.down, w.up, true},
			{"interface eth0 has no carrier", w.cut, w.mend, false},
		} {
			w.wait("the condition to hold", func() bool { ok, _ := i.State(); return ok })
			changed, stop := condition.Signal(i)
			tt.off()
			<-changed
			stop()
			if ok, why := i.State(); ok || why != tt.why {
				t.Errorf("want %q, got %v, %q", tt.why, ok, why)
			}
			before := announced(w.heard(), v6.Addr())
			tt.on()
			w.wait("both addresses on the interface", func() bool { return w.has() == "192.0.2.254/32 2001:db8::254/128" })
			w.wait("another announcement", func() bool { return announced(w.heard(), v6.Addr()) > before })
			if at := lastDefence(i, v6); !at.IsZero() {
				t.Errorf("%s: want no dispute, got a defence at %v", tt.why, at)
			}
		}
	})
}

// announced counts the announcements of an address, a pair of ARPs as one.
func announced(heard []frame, a netip.Addr) (n int) {
	for _, f := range heard {
		if got, _, ok := parseNA(f.data); ok && got == a {
			n++
		}
		if got, _, ok := parseARP(f.data); ok && got == a && f.data[ethernetLen+7] == arpReply {
			n++
		}
	}
	return n
}

func TestTheInterfaceVanishesAndComesBack(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		bind(t, i, v4, v6)
		changed, stop := condition.Signal(i)
		defer stop()
		w.destroy()
		<-changed
		w.wait("no interface", func() bool { _, why := i.State(); return why == "interface eth0 does not exist" })
		if err := i.Bind(t.Context(), []netip.Prefix{v4}, nil); err == nil {
			t.Error("want an error without an interface, got none")
		}
		before := announced(w.heard(), v4.Addr())
		w.create()
		w.wait("both addresses on the interface", func() bool { return w.has() == "192.0.2.254/32 2001:db8::254/128" })
		w.wait("an announcement", func() bool { return announced(w.heard(), v4.Addr()) > before })
		w.claim(v4.Addr()) // it listens on the new interface, too
		w.wait("an answer to a claim", func() bool { i.mu.Lock(); defer i.mu.Unlock(); return len(i.disputes[v4.Addr()].wire.defences) > 0 })
	})
}

func TestAnnouncements(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		end := bind(t, i, v4, v6)
		for _, p := range []netip.Prefix{v4, v6} {
			w.wait("three announcements", func() bool { return announced(w.heard(), p.Addr()) >= len(burst) })
		}
		seen := map[string]int{}
		for _, f := range w.heard() {
			seen[describe(f.data)]++
		}
		for _, want := range []string{
			"ARP probe for 192.0.2.254", "ARP request by 192.0.2.254", "ARP reply by 192.0.2.254",
			"solicitation from :: to ff02::1:ff00:254", "advertisement from 2001:db8::254 to ff02::1, override",
		} {
			if seen[want] == 0 {
				t.Errorf("want %q, got %v", want, seen)
			}
		}
		end(errDemoted)
		count := len(w.heard())
		i.Announce()
		w.claim(v4.Addr())
		bind(t, i, v6)
		w.wait("the announcement of the next", func() bool { return len(w.heard()) > count })
		for _, f := range w.heard()[count:] {
			if got, mac, ok := parseARP(f.data); ok && got == v4.Addr() && mac[5] != 9 {
				t.Errorf("want no frame about %v after its end, got %s", v4, describe(f.data))
			}
		}
	})
}

// describe describes a frame that this package sends.
func describe(b []byte) string {
	if len(b) >= ethernetLen+arpLen && b[12] == 8 && b[13] == 6 {
		body := b[ethernetLen:]
		from, to := netip.AddrFrom4([4]byte(body[14:18])), netip.AddrFrom4([4]byte(body[24:28]))
		switch {
		case from.IsUnspecified():
			return "ARP probe for " + to.String()
		case from != to:
			return "ARP of another kind"
		}
		return map[byte]string{arpRequest: "ARP request by ", arpReply: "ARP reply by "}[body[7]] + from.String()
	}
	if len(b) < ethernetLen+ipv6Len+naMinimum || b[12] != 0x86 {
		return "something else"
	}
	body := b[ethernetLen:]
	path := fmt.Sprintf(" from %v to %v", netip.AddrFrom16([16]byte(body[8:24])), netip.AddrFrom16([16]byte(body[24:40])))
	switch {
	case body[ipv6Len] == 135:
		return "solicitation" + path
	case body[ipv6Len] == naType && body[ipv6Len+4] == 0x20:
		return "advertisement" + path + ", override"
	}
	return "something else"
}

func TestAnAddressIsDefendedAgainstAClaimAndTheClaimantNamed(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		core, logs := observer.New(zap.WarnLevel)
		o.Journal = journal.New(zap.New(core))
		i := running(t, w, o)
		bind(t, i, v4, v6)
		for _, p := range []netip.Prefix{v4, v6} {
			w.claim(p.Addr())
			w.wait("a warning with the MAC of the other host", func() bool {
				return logs.FilterField(zap.String("mac", "02:00:00:00:00:09")).FilterField(zap.Stringer("address", p)).Len() == 1
			})
		}
	})
}
