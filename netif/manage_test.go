package netif

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/testnet"
)

var (
	w4   = netip.MustParsePrefix("192.0.2.253/32")
	wide = netip.MustParsePrefix("192.0.2.254/24")
)

func TestAddressesAreManagedWhileTheyAreInTheList(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		var elsewhere atomic.Bool
		o := options(t)
		o.Managed = nil // as a host of a pool before it has read the list
		o.Elsewhere = func(netip.Prefix) bool { return elsewhere.Load() }
		i := running(t, w, o)
		if err := i.Bind(t.Context(), []netip.Prefix{v4}, nil); err == nil {
			t.Error("want a refusal of an address that is not in the list, got none")
		}
		must(t, i.Manage([]netip.Prefix{v4, v6}))
		end := bind(t, i, v4, v6)
		if got, want := w.has(), "192.0.2.254/32 2001:db8::254/128"; got != want {
			t.Errorf("bound: want %q, got %q", want, got)
		}
		end(errDemoted)
		for _, p := range []netip.Prefix{v4, v6} {
			w.next(t, p, true)
		}
		for range 2 {
			<-w.changes // both gone
		}
		must(t, i.Manage([]netip.Prefix{v6}))
		if err := i.Bind(t.Context(), []netip.Prefix{v4}, nil); err == nil {
			t.Error("want a refusal of an address that has left the list, got none")
		}
		// An address that has left is that of another program.
		elsewhere.Store(true)
		w.add(v4)
		w.next(t, v4, true)
		w.add(v6)
		w.next(t, v6, true)
		w.next(t, v6, false)
		if got, want := w.has(), v4.String(); got != want {
			t.Errorf("want %q to stay, got %q", want, got)
		}
		// One that is there when it enters the list is observed without an event.
		must(t, i.Manage([]netip.Prefix{v4, v6}))
		w.next(t, v4, false)
	})
}

func TestAnAddressThatLeavesTheListWhileItIsBoundStaysManagedUntilBindHasReturned(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		o.Managed = nil
		i := running(t, w, o)
		must(t, i.Manage([]netip.Prefix{v4, v6}))
		end := bind(t, i, v4)
		w.next(t, v4, true)
		must(t, i.Manage([]netip.Prefix{v6}))
		w.remove(v4)
		w.next(t, v4, false)
		w.next(t, v4, true) // defended, as before
		end(errDemoted)
		w.next(t, v4, false)
		if err := i.Bind(t.Context(), []netip.Prefix{v4}, nil); err == nil {
			t.Error("want a refusal after its call of Bind has returned, got none")
		}
		// One that is back in the list before that is as if it had never left.
		must(t, i.Manage([]netip.Prefix{v4, v6}))
		end = bind(t, i, v4)
		must(t, i.Manage([]netip.Prefix{v6}))
		must(t, i.Manage([]netip.Prefix{v4, v6}))
		end(errDemoted)
		bind(t, i, v4)
	})
}

func TestABoundAddressThatHasLeftTheListIsRestoredWithItsInterface(t *testing.T) {
	inBubble(t, func(o *Options) { o.Managed = nil }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		must(t, b.i.Manage([]netip.Prefix{v4}))
		bind(t, b.i, v4)
		b.destroy()
		synctest.Wait()
		must(t, b.i.Manage(nil))
		b.create()
		synctest.Wait()
		wantEqual(t, v4.String(), b.has())
		b.remove(v4)
		synctest.Wait()
		wantEqual(t, v4.String(), b.has())
	})
}

// Its removal is for the next process to decide.
func TestAnAddressThatWasHandedOverLeavesTheListAndStaysBound(t *testing.T) {
	inBubble(t, func(o *Options) { o.Managed = nil }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		must(t, b.i.Manage([]netip.Prefix{v4}))
		bind(t, b.i, v4)(ErrLeave)
		must(t, b.i.Manage(nil))
		b.until(10 * time.Second)
		wantEqual(t, v4.String(), b.has())
	})
}

func TestAnAddressThatIsHereWhenItEntersTheListIsObservedAtOnce(t *testing.T) {
	inBubble(t, func(o *Options) {
		o.Managed, o.Elsewhere = nil, func(netip.Prefix) bool { return true }
	}, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		b.add(v4)
		b.until(time.Minute)
		must(t, b.i.Manage([]netip.Prefix{v4}))
		synctest.Wait()
		wantEqual(t, "", b.has())
	})
}

func TestAChangedPrefixLengthTakesEffectAfterTheCallOfBind(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		o.Managed = nil
		i := running(t, w, o)
		wide6 := netip.MustParsePrefix("2001:db8::254/64")
		must(t, i.Manage([]netip.Prefix{v6}))
		end := bind(t, i, v6)
		w.next(t, v6, true)
		must(t, i.Manage([]netip.Prefix{wide6}))
		if err := i.Bind(t.Context(), []netip.Prefix{wide6}, nil); err == nil {
			t.Error("want a refusal of the new length while the old is bound, got none")
		}
		end(errDemoted)
		w.next(t, v6, false)
		end = bind(t, i, wide6)
		w.next(t, wide6, true)
		if err := i.Bind(t.Context(), []netip.Prefix{v6}, nil); err == nil {
			t.Error("want a refusal of the former length, got none")
		}
		end(errDemoted)
		w.next(t, wide6, false)
		must(t, i.Manage([]netip.Prefix{v6})) // and at once where nothing is bound
		bind(t, i, v6)
		w.next(t, v6, true)
	})
}

func TestAnAddressThatCannotBeManagedIsLeftOutAloneAndNamed(t *testing.T) {
	inBubble(t, func(o *Options) { o.Managed = []netip.Prefix{v6} }, func(t *testing.T, b *bubble) {
		refused := errors.New("promote_secondaries is off")
		b.k.alter(func() { b.k.promoteErr, b.k.promoteOf = refused, netip.MustParsePrefix("198.51.100.1/24") })
		for _, tt := range []struct {
			name, address string
			want          error
		}{
			{"its removal would remove others", "198.51.100.1/24", refused},
			{"another length of one before it", "192.0.2.253/24", errTwice},
			{"of an instance", v6.String(), errFixed},
			{"of an instance, another length", "2001:db8::254/64", errFixed},
			{"of no host", "0.0.0.0/32", errNotUnicast},
			{"multicast", "224.0.0.18/32", errNotUnicast},
			{"of all hosts", "127.0.0.1/32", errNotUnicast},
			{"IPv4 in IPv6", "::ffff:192.0.2.1/128", errNotUnicast},
			{"nothing", "", errNotUnicast},
		} {
			var p netip.Prefix
			if tt.address != "" {
				p = netip.MustParsePrefix(tt.address)
			}
			err := b.i.Manage([]netip.Prefix{w4, p, v4, v4})
			var which *AddressError
			if !errors.Is(err, tt.want) || !errors.As(err, &which) || which.Address != p || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%s: want %v and the address alone, got %v", tt.name, tt.want, err)
			}
			bind(t, b.i, v4, w4)(errDemoted)
			if ok, reason := b.i.State(); !ok {
				t.Errorf("%s: want the interface fit for the others, got %q", tt.name, reason)
			}
		}
		bind(t, b.i, v6) // of the instance
		b.k.alter(func() { b.k.promoteErr = nil })
		again := netip.MustParsePrefix("198.51.100.1/24")
		must(t, b.i.Manage([]netip.Prefix{again}))
		bind(t, b.i, again)
	})
}

// A deleted interface that was made again has the settings of a new one.
func TestAnInterfaceThatWasMadeAgainIsFitForTheOtherAddresses(t *testing.T) {
	inBubble(t, func(o *Options) { o.Managed = nil }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		must(t, b.i.Manage([]netip.Prefix{wide, w4}))
		bind(t, b.i, wide, w4)
		b.k.alter(func() { b.k.promoteErr, b.k.promoteOf = errors.New("promote_secondaries is off"), wide })
		b.destroy()
		b.create()
		synctest.Wait()
		wantEqual(t, w4.String(), b.has())
		if ok, reason := b.i.State(); !ok {
			t.Errorf("want the interface fit for the others, got %q", reason)
		}
		b.k.alter(func() { b.k.promoteErr = nil })
		time.Sleep(observeAgain)
		synctest.Wait()
		wantEqual(t, wide.String()+" "+w4.String(), b.has())
		wantEqual(t, 0, len(b.i.unfit))
	})
}

func TestOneInterfaceAloneManagesAnAddress(t *testing.T) {
	testnet.Require(t, "ip")
	n := newNode(t, "host", new(testnet.Bell))
	must(t, n.Do(func() error {
		shell(t, "ip link add eth0 type veth peer name peer0; ip link set peer0 up; ip link set eth0 up")
		h, err := OpenHost(options(t), map[string][]netip.Prefix{"lo": {v6}, "eth0": nil})
		if err != nil {
			return err
		}
		return errors.Join(h.Serve(t.Context(), func(context.Context) error {
			lo, eth0 := h.Interface("lo"), h.Interface("eth0")
			must(t, lo.Manage([]netip.Prefix{v4}))
			if err := errorText(eth0.Manage([]netip.Prefix{v4, v6, w4})); err != "manage 192.0.2.254/32 on eth0: it is managed on lo\n"+
				"manage 2001:db8::254/128 on eth0: "+errFixed.Error() {
				t.Errorf("want both refused, got %q", err)
			}
			bind(t, eth0, w4)(errDemoted)
			end := bind(t, lo, v4)
			must(t, lo.Manage(nil))
			if err := eth0.Manage([]netip.Prefix{v4}); err == nil {
				t.Error("want a refusal while the other interface has the address bound, got none")
			}
			end(errDemoted)
			must(t, eth0.Manage([]netip.Prefix{v4}))
			bind(t, eth0, v4)(errDemoted)
			return nil
		}), h.Close())
	}))
}

// The list is in etcd, which answers before or after the leftovers are removed.
func TestLeftoversOfAListAreKeptIfTheyAreWantedAndRemovedIfNot(t *testing.T) {
	for name, early := range map[string]bool{"Manage before Sweep": true, "Manage after Sweep": false} {
		t.Run(name, func(t *testing.T) {
			inBothWorlds(t, func(t *testing.T, w *world) {
				o := options(t)
				o.Managed, o.Record = nil, filepath.Join(t.TempDir(), "bound")
				i := running(t, w, o)
				must(t, i.Manage([]netip.Prefix{v4, w4, v6}))
				bind(t, i, v4, w4, v6)(ErrLeave)
				next := running(t, w, o)
				if early {
					must(t, next.Manage([]netip.Prefix{v4, w4})) // v6 has left the list meanwhile
				}
				must(t, next.Sweep(func(p netip.Prefix) bool { return p == v4 }))
				if !early {
					must(t, next.Manage([]netip.Prefix{v4, w4}))
				}
				if got, want := w.has(), v4.String(); got != want {
					t.Errorf("want %q, got %q", want, got)
				}
				bind(t, next, v4)(errDemoted)
				if got := w.has(); got != "" {
					t.Errorf("want nothing, got %q", got)
				}
			})
		})
	}
}

// The record says that the address is berth's, and no call of Bind will remove it.
func TestAnAddressOfBerthThatLeavesTheListIsRemoved(t *testing.T) {
	inBothWorlds(t, func(t *testing.T, w *world) {
		o := options(t)
		o.Managed, o.Record = nil, filepath.Join(t.TempDir(), "bound")
		former := running(t, w, o)
		must(t, former.Manage([]netip.Prefix{v4, v6}))
		bind(t, former, v4, v6)(ErrLeave)
		i := running(t, w, o)
		must(t, i.Manage([]netip.Prefix{v4, v6}))
		must(t, i.Sweep(func(netip.Prefix) bool { return true }))
		w.next(t, v4, true)
		w.next(t, v6, true)
		must(t, i.Manage([]netip.Prefix{v6}))
		w.next(t, v4, false)
		bind(t, i, v6)
	})
}

func TestAnAddressThatCannotBeRemovedStaysManagedUntilItIsGone(t *testing.T) {
	j, lines := said()
	record := filepath.Join(t.TempDir(), "bound")
	inBubble(t, func(o *Options) { o.Managed, o.Journal, o.Record = nil, j, record }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		must(t, b.i.Manage([]netip.Prefix{v4}))
		end := bind(t, b.i, v4)
		b.k.alter(func() { b.k.stuck = v4 })
		must(t, b.i.Manage(nil))
		end(errDemoted)
		b.until(3 * time.Second)
		wantEqual(t, []string{unremoved.Text}, lines())
		b.k.alter(func() { b.k.stuck = netip.Prefix{} })
		b.until(6 * time.Second)
		wantEqual(t, []string{unremoved.Over}, lines())
		wantEqual(t, "", b.has())
		wantEqual(t, 0, len(b.i.allManaged()))
	})
}

func TestWhatIsToldOfAnAddressEndsWhenItLeaves(t *testing.T) {
	var r metrics.Registry
	told := map[string]bool{}
	var mu sync.Mutex
	tell := func(what string, on bool) {
		mu.Lock()
		defer mu.Unlock()
		told[what] = on
	}
	all := func() map[string]bool {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(told)
	}
	inBubble(t, func(o *Options) {
		o.Managed, o.Metrics = nil, NewMetrics(&r)
		o.Elsewhere = func(p netip.Prefix) bool { return p == v6 }
		o.Contested = func(p netip.Prefix, on bool) { tell("contested "+p.String(), on) }
		o.Astray = func(p netip.Prefix, on string) { tell("astray "+p.String(), on != "") }
	}, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		must(t, b.i.Manage([]netip.Prefix{v4, v6}))
		end := bind(t, b.i, v4)
		b.addElsewhere(v6)
		for range contestedLimit {
			b.remove(v4)
			time.Sleep(defenceGap)
			synctest.Wait()
		}
		wantEqual(t, map[string]bool{"contested 192.0.2.254/32": true, "astray 2001:db8::254/128": true}, all())
		must(t, b.i.Manage(nil))
		wantEqual(t, map[string]bool{"contested 192.0.2.254/32": true, "astray 2001:db8::254/128": false}, all())
		end(errDemoted)
		wantEqual(t, map[string]bool{"contested 192.0.2.254/32": false, "astray 2001:db8::254/128": false}, all())
		var text strings.Builder
		must(t, r.WriteText(&text))
		if strings.Contains(text.String(), "address=") {
			t.Errorf("want no series of the addresses that have left, got:\n%s", text.String())
		}
		b.i.mu.Lock()
		remain := len(b.i.disputes) + len(b.i.astray) + len(b.i.present) + len(b.i.onOthers) + len(b.i.leaving)
		b.i.mu.Unlock()
		wantEqual(t, 0, remain)
		// It comes back without its dispute.
		must(t, b.i.Manage([]netip.Prefix{v4}))
		bind(t, b.i, v4)
		b.remove(v4)
		synctest.Wait()
		wantEqual(t, v6.String()+" "+v4.String(), b.has()) // the former on lo
	})
}

func TestAChangeOfTheListDisturbsNoRenewal(t *testing.T) {
	inBubble(t, func(o *Options) { o.Managed, o.Announce = nil, Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		list := thousand()
		must(t, b.i.Manage(list))
		bind(t, b.i, list[:200]...)
		b.until(10100 * time.Millisecond)
		binds, observations := len(b.k.bound()), b.k.counted()
		for n := range 100 {
			must(t, b.i.Manage(slices.Delete(slices.Clone(list), 500+n, 501+n)))
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		wantEqual(t, 0, len(b.k.bound())-binds)
		if got := b.k.counted() - observations; got > 100 {
			t.Errorf("want one reading of the addresses for a change at most, got %d", got)
		}
		wantEqual(t, 201, len(b.changes)+1) // none but the bindings
	})
}

func thousand() (list []netip.Prefix) {
	for a := netip.MustParseAddr("10.0.0.1"); len(list) < 1000; a = a.Next() {
		list = append(list, netip.PrefixFrom(a, 32))
	}
	return list
}

// The list changes while addresses are bound, removed, claimed and observed.
func TestTheListChangesWhileEverythingElseHappens(t *testing.T) {
	w := kernelWorld(t)
	o := options(t)
	o.Managed, o.Journal = nil, journal.New(nil)
	i := running(t, w, o)
	all := thousand()[:50]
	must(t, i.Manage(all))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				must(t, i.Manage(all[n%25:25+n%25]))
			}
		}
	})
	var bound atomic.Int64
	for n := range 25 {
		wg.Go(func() {
			for bound.Load() < 100 {
				ctx, cancel := context.WithCancelCause(t.Context())
				if err := i.Bind(ctx, all[n:n+1], func() { bound.Add(1); cancel(errDemoted) }); err != nil && !errors.Is(err, errDemoted) && !strings.Contains(err.Error(), "not among the managed") {
					t.Error(err)
				}
				cancel(nil)
			}
		})
	}
	w.wait("a hundred bindings", func() bool { w.claim(all[0].Addr()); return bound.Load() >= 100 })
	close(stop)
	wg.Wait()
	must(t, i.Manage(nil))
	wantEqual(t, "", w.has())
	wantEqual(t, 0, len(i.allManaged()))
}
