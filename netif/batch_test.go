//go:build linux

package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func crowd() (instances [][]netip.Prefix) {
	for n := range 200 {
		var list []netip.Prefix
		for a := range 5 {
			list = append(list, netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/32", n, a+1)))
		}
		instances = append(instances, list)
	}
	return instances
}

// untilWanted waits until so many Holds wait for the lock.
func (i *Interface) untilWanted(n int) {
	for waiting := 0; waiting < n; runtime.Gosched() { // a bubble does not sleep while a goroutine waits for a lock
		i.wanted.Lock()
		waiting = len(i.wanted.requests)
		i.wanted.Unlock()
	}
}

// One look at the kernel's addresses for each instance would be a dump of a thousand,
// two hundred times.
func TestTwoHundredInstancesThatBeginOrEndAtOnceAreAFewBatches(t *testing.T) {
	instances := crowd()
	inBubble(t, func(o *Options) {
		o.Managed = nil
		for _, list := range instances {
			o.Managed = append(o.Managed, list...)
		}
	}, func(t *testing.T, b *bubble) {
		refused := instances[7][3]
		b.k.behind(func() { b.k.refuse = refused })
		ctx, cancel := context.WithCancelCause(t.Context())
		var bound, ended sync.WaitGroup
		bound.Add(len(instances) - 1)
		b.i.mu.Lock() // all wait for what is done now
		for n, list := range instances {
			ended.Go(func() {
				err := b.i.Hold(ctx, list, bound.Done)
				if n == 7 {
					if err == nil || !strings.Contains(err.Error(), refused.String()) {
						t.Errorf("want %v refused, got %v", refused, err)
					}
				} else if !errors.Is(err, errDemoted) {
					t.Errorf("want %v, got %v", errDemoted, err)
				}
			})
		}
		b.i.untilWanted(len(instances))
		before := b.k.counted()
		b.i.mu.Unlock()
		bound.Wait()
		if got := b.k.counted() - before; got > 10 {
			t.Errorf("want a few looks for all of them, got %d", got)
		}
		wantEqual(t, 5*(len(instances)-1), len(strings.Fields(b.has())))
		before = b.k.counted()
		b.i.mu.Lock()
		cancel(errDemoted)
		b.i.untilWanted(len(instances) - 1)
		b.i.mu.Unlock()
		ended.Wait()
		if got := b.k.counted() - before; got > 10 {
			t.Errorf("want a few looks for all of them, got %d", got)
		}
		wantEqual(t, "", b.has())
	})
}

// The kernel may take away what was renewed a moment ago.
func TestAnAddressThatTheKernelTookAwayIsPutBackAndBlamesNobody(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		hold(t, b.i, v4)
		b.until(time.Minute)
		b.k.behind(func() { b.k.remove(v4, true) })
		synctest.Wait()
		wantEqual(t, v4.String(), b.has())
		wantEqual(t, time.Time{}, lastFight(b.i, v4))
		// Something that does so again at once is somebody.
		b.k.behind(func() { b.k.remove(v4, true) })
		synctest.Wait()
		wantEqual(t, v4.String(), b.has())
		wantEqual(t, time.Now(), lastFight(b.i, v4))
	})
}

func TestAnAddressThatCouldNotBeRenewedInTimeBlamesNobody(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		hold(t, b.i, v4)
		b.k.behind(func() { b.k.fail = errors.New("no buffer space") })
		b.renewing(5) // its life of 3 s ends meanwhile
		wantEqual(t, "", b.has())
		b.k.behind(func() { b.k.fail = nil })
		b.renewing(1)
		wantEqual(t, v4.String(), b.has())
		wantEqual(t, time.Time{}, lastFight(b.i, v4))
	})
}

// The rest of a lifetime that the kernel tells is older than its answer.
func TestAMachineWithTooMuchToDoBlamesNobodyForItsDelays(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		hold(t, b.i, v4)
		b.k.behind(func() { b.k.slow = 1700 * time.Millisecond })
		for range 20 {
			time.Sleep(time.Second)
			b.lease.set(time.Hour)
			b.i.Renewed()
		}
		b.k.behind(func() { b.k.slow = 0 })
		time.Sleep(10 * time.Second) // nobody may wait for the lock of one that sleeps
		wantEqual(t, time.Time{}, lastFight(b.i, v4))
		if len(b.changes) != 1 {
			t.Errorf("want no change but the binding, got %d", len(b.changes))
		}
	})
}

// Not to be able to look is no reason to let an address go.
func TestWhatCannotBeLookedAtIsRenewedAllTheSame(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	inBubble(t, func(o *Options) { o.Log = zap.New(core) }, func(t *testing.T, b *bubble) {
		hold(t, b.i, v4, v6)
		b.k.behind(func() { b.k.blind = errors.New("no buffer space") })
		b.renewing(20)
		b.k.behind(func() { b.k.blind = nil })
		b.renewing(2)
		if len(b.changes) != 2 {
			t.Errorf("want no change but the two bindings, got %d", len(b.changes))
		}
		wantEqual(t, 1, logs.FilterMessage("looking at the addresses of the interface again").Len())
	})
}

func TestAWatchThatDiesIsBegunAnewAndWhatItMissedIsFound(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			hold(t, b.i, v4)
			b.until(100 * time.Millisecond) // nothing is due
			b.k.behind(func() {
				delete(b.k.addrs, v4) // its event is lost
				b.k.deaf = []error{errors.New("bad file descriptor")}
				b.k.events <- event{kind: unheard, err: errDeaf}
			})
			synctest.Wait()
			wantEqual(t, v4.String(), b.has())
		})
	})
	t.Run("kernel", func(t *testing.T) {
		w := kernelWorld(t)
		i := running(t, w, options(t))
		hold(t, i, v4)
		w.next(t, v4, true)
		must(t, i.kernel.(*linux).events.SetReadDeadline(time.Time{})) // it is read from
		must(t, i.kernel.(*linux).events.Close())
		w.remove(v4)
		w.next(t, v4, false)
		w.next(t, v4, true)
	})
}

// A process that sees nothing any more ends with the error, and is started anew.
func TestAWatchThatCannotBeBegunAnewEndsWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		w := fakeWorld(t, k)
		o := options(t)
		h := &Host{interfaces: map[string]*Interface{"eth0": w.open(t, o)}}
		for range 100 {
			k.deaf = append(k.deaf, errDeaf)
		}
		err := h.Serve(t.Context(), func(ctx context.Context) error {
			return h.Interface("eth0").Hold(ctx, []netip.Prefix{v4}, func() {})
		})
		if !errors.Is(err, errDeaf) || !strings.Contains(err.Error(), "watch interface eth0") {
			t.Errorf("want the error of the watch, got %v", err)
		}
		wantEqual(t, "", w.has())
	})
}

func TestAnAnnouncementThatTheSystemDoesNotTakeIsSentLaterAndToldOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	inBubble(t, func(o *Options) { o.Log, o.Announce = zap.New(core), Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		b.k.behind(func() { b.k.full = errors.New("no buffer space available") })
		hold(t, b.i, v4, v6)
		b.until(2100 * time.Millisecond)
		b.k.behind(func() { b.k.full = nil })
		b.until(time.Minute)
		wantEqual(t, len(burst), announced(b.heard(), v4.Addr()))
		wantEqual(t, len(burst), announced(b.heard(), v6.Addr()))
		wantEqual(t, 1, logs.FilterMessageSnippet("cannot announce").Len())
		wantEqual(t, 1, logs.FilterMessage("announcing addresses again").Len())
	})
}

// In a hand-over of hundreds of instances the owner of one or another changes all the
// time.
func TestAnOwnerThatChangesElsewhereCostsNoLookAndNoRenewal(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		hold(t, b.i, v4)
		b.until(10100 * time.Millisecond)
		looks, binds := b.k.counted(), len(b.k.bound())
		for range 100 {
			time.Sleep(6 * time.Millisecond)
			b.i.Moved()
			synctest.Wait()
		}
		wantEqual(t, 0, b.k.counted()-looks)
		wantEqual(t, 0, len(b.k.bound())-binds)
	})
}
