//go:build linux

package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
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

// lastFight returns when an address was last defended on this host.
func lastFight(i *Interface, p netip.Prefix) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if d := i.fights[p.Addr()].local.defences; len(d) > 0 {
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

func TestHoldBindsAndUnbinds(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		end := hold(t, i, v4, v6)
		if got, want := w.has(), "192.0.2.254/32 2001:db8::254/128"; got != want {
			t.Errorf("held: want %q, got %q", want, got)
		}
		if err := i.Hold(t.Context(), []netip.Prefix{v4}, nil); err == nil {
			t.Error("want a refusal to hold an address twice, got none")
		}
		if got, want := i.Present(), []netip.Prefix{v4, v6}; !slices.Equal(got, want) {
			t.Errorf("want %v present, got %v", want, got)
		}
		end(errDemoted)
		if got := w.has(); got != "" {
			t.Errorf("not held any more: want nothing, got %q", got)
		}
	})
}

func TestHoldsEndOneByOne(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		endV4 := hold(t, i, v4)
		hold(t, i, v6)
		endV4(errDemoted)
		if got, want := w.has(), "2001:db8::254/128"; got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	})
}

func TestAnUpgradeLeavesTheAddressesAndTheNextProcessAdoptsThem(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		o.Elsewhere = func(netip.Prefix) bool { return true } // a change in the last moment
		i := running(t, w, o)
		end := hold(t, i, v4, v6)
		w.next(t, v4, true)
		w.next(t, v6, true)
		end(fmt.Errorf("signal: %w", ErrLeave))
		i.Moved()
		next := running(t, w, options(t))
		must(t, next.Sweep(func(netip.Prefix) bool { return true }))
		end = hold(t, next, v4, v6)
		end(errDemoted)
		w.next(t, v4, false) // and no change before it
		w.next(t, v6, false)
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

func TestAddedBehindTheBackIsRemovedOnceItBelongsElsewhere(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		var elsewhere atomic.Bool
		o := options(t)
		o.Elsewhere = func(netip.Prefix) bool { return elsewhere.Load() }
		i := running(t, w, o)
		w.add(v4)
		w.next(t, v4, true)
		w.wait("the address to be seen", func() bool { return slices.Equal(i.Present(), []netip.Prefix{v4}) })
		elsewhere.Store(true)
		i.Moved()
		w.next(t, v4, false)
		for _, p := range []netip.Prefix{v6, netip.MustParsePrefix("192.0.2.254/24")} {
			w.wait("a second between defences", func() bool { return time.Since(lastFight(i, p)) > fightGap })
			w.add(p)
			came := w.next(t, p, true)
			t.Logf("%v was there for %v", p, w.next(t, p, false).Sub(came))
		}
	})
}

func TestAnotherPrefixLengthOfAHeldAddressIsRemoved(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		end := hold(t, i, v4)
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

// What an operator makes permanent would outlive the lease.
func TestALifetimeThatSomebodyTookAwayIsSetAgain(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		hold(t, i, v4, v6)
		for _, p := range []netip.Prefix{v4, v6} {
			w.forever(p)
			w.wait("a limited life", func() bool {
				return !slices.ContainsFunc(i.there(p), func(a address) bool { return a.valid == forever })
			})
		}
	})
}

func TestSweepRemovesLeftoversAndNothingElse(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		foreign, former := netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("203.0.113.1/32")
		o := options(t)
		o.Record = filepath.Join(t.TempDir(), "bound")
		o.Managed = append(o.Managed, former)
		i := running(t, w, o)
		end := hold(t, i, former)
		end(ErrLeave)
		w.add(v4)
		w.add(v6)
		w.add(foreign)
		o.Managed = []netip.Prefix{v4, v6} // the configuration has changed meanwhile
		next := running(t, w, o)
		must(t, next.Sweep(func(p netip.Prefix) bool { return p == v6 }))
		if got, want := w.has(), "198.51.100.1/24 2001:db8::254/128"; got != want {
			t.Errorf("want %q, got %q", want, got)
		}
		w.add(former) // somebody else's now
		must(t, next.Sweep(func(p netip.Prefix) bool { return p == v6 }))
		if got, want := w.has(), "203.0.113.1/32"; !strings.Contains(got, want) {
			t.Errorf("want %s to stay, got %q", want, got)
		}
	})
}

func TestTheKernelEndsWhatAProcessCannot(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		end := time.Now().Add(2500 * time.Millisecond)
		o.End = func() time.Time { return end }
		i := w.open(t, o) // and no Run: it is frozen
		hold(t, i, v4, v6)
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
		hold(t, i, v4, v6)
		for _, tt := range []struct {
			why      string
			off, on  func()
			dropsIP6 bool
		}{
			{"interface eth0 is down", w.down, w.up, true},
			{"interface eth0 has no carrier", w.cut, w.mend, false},
		} {
			w.wait("the interface to be ready", func() bool { ok, _ := i.Ready(); return ok })
			changed := i.Changed()
			tt.off()
			<-changed
			if ok, why := i.Ready(); ok || why != tt.why {
				t.Errorf("want %q, got %v, %q", tt.why, ok, why)
			}
			before := announced(w.heard(), v6.Addr())
			tt.on()
			w.wait("both addresses on the interface", func() bool { return w.has() == "192.0.2.254/32 2001:db8::254/128" })
			w.wait("another announcement", func() bool { return announced(w.heard(), v6.Addr()) > before })
			if at := lastFight(i, v6); !at.IsZero() {
				t.Errorf("%s: want no fight, got one at %v", tt.why, at)
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
		hold(t, i, v4, v6)
		changed := i.Changed()
		w.destroy()
		<-changed
		w.wait("no interface", func() bool { _, why := i.Ready(); return why == "interface eth0 does not exist" })
		if err := i.Hold(t.Context(), []netip.Prefix{v4}, nil); err == nil {
			t.Error("want an error without an interface, got none")
		}
		before := announced(w.heard(), v4.Addr())
		w.create()
		w.wait("both addresses on the interface", func() bool { return w.has() == "192.0.2.254/32 2001:db8::254/128" })
		w.wait("an announcement", func() bool { return announced(w.heard(), v4.Addr()) > before })
		w.claim(v4.Addr()) // it listens on the new one too
		w.wait("an answer to a claim", func() bool { i.mu.Lock(); defer i.mu.Unlock(); return len(i.fights[v4.Addr()].wire.defences) > 0 })
	})
}

func TestAnnouncements(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		i := running(t, w, options(t))
		end := hold(t, i, v4, v6)
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
		hold(t, i, v6)
		w.wait("the announcement of the next", func() bool { return len(w.heard()) > count })
		for _, f := range w.heard()[count:] {
			if got, mac, ok := parseARP(f.data); ok && got == v4.Addr() && mac[5] != 9 {
				t.Errorf("want nothing about %v once it is no longer held, got %s", v4, describe(f.data))
			}
		}
	})
}

// describe tells what a frame is, for what this package sends.
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

func TestAClaimIsAnsweredAndNamed(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		core, logs := observer.New(zap.WarnLevel)
		o.Log = zap.New(core)
		i := running(t, w, o)
		hold(t, i, v4, v6)
		for _, p := range []netip.Prefix{v4, v6} {
			w.claim(p.Addr())
			w.wait("a warning with the other's MAC", func() bool {
				return logs.FilterField(zap.String("mac", "02:00:00:00:00:09")).FilterField(zap.Stringer("address", p)).Len() == 1
			})
		}
	})
}
