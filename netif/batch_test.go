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

	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func manyInstances() (instances [][]netip.Prefix) {
	for n := range 200 {
		var list []netip.Prefix
		for a := range 5 {
			list = append(list, netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/32", n, a+1)))
		}
		instances = append(instances, list)
	}
	return instances
}

// untilWaiting waits until so many requests wait for the lock.
func (i *Interface) untilWaiting(n int) {
	for waiting := 0; waiting < n; runtime.Gosched() { // a bubble does not sleep while a goroutine waits for a lock
		i.waiting.Lock()
		waiting = len(i.waiting.requests)
		i.waiting.Unlock()
	}
}

// If the kernel's addresses were read for each instance, that would be a dump of a
// thousand addresses, two hundred times.
func TestTwoHundredInstancesThatBeginOrEndAtOnceAreAFewBatches(t *testing.T) {
	instances := manyInstances()
	inBubble(t, func(o *Options) {
		o.Managed = nil
		for _, list := range instances {
			o.Managed = append(o.Managed, list...)
		}
	}, func(t *testing.T, b *bubble) {
		refused := instances[7][3]
		b.k.alter(func() { b.k.refuse = refused })
		ctx, cancel := context.WithCancelCause(t.Context())
		var bound, ended sync.WaitGroup
		bound.Add(len(instances) - 1)
		b.i.mu.Lock() // all wait for the lock
		for n, list := range instances {
			ended.Go(func() {
				err := b.i.Bind(ctx, list, bound.Done)
				if n == 7 {
					if err == nil || !strings.Contains(err.Error(), refused.String()) {
						t.Errorf("want %v refused, got %v", refused, err)
					}
				} else if !errors.Is(err, errDemoted) {
					t.Errorf("want %v, got %v", errDemoted, err)
				}
			})
		}
		b.i.untilWaiting(len(instances))
		before := b.k.counted()
		b.i.mu.Unlock()
		bound.Wait()
		if got := b.k.counted() - before; got > len(instances)/4 {
			t.Errorf("want far fewer readings of the addresses than instances, got %d", got)
		}
		wantEqual(t, 5*(len(instances)-1), len(strings.Fields(b.has())))
		before = b.k.counted()
		b.i.mu.Lock()
		cancel(errDemoted)
		b.i.untilWaiting(len(instances) - 1)
		b.i.mu.Unlock()
		ended.Wait()
		if got := b.k.counted() - before; got > len(instances)/4 {
			t.Errorf("want far fewer readings of the addresses than instances, got %d", got)
		}
		wantEqual(t, "", b.has())
	})
}

// The kernel may remove an address that was renewed a moment ago.
func TestAnAddressThatTheKernelRemovedIsBoundAgainAndIsNoConflict(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(time.Minute)
		b.k.alter(func() { b.k.remove(v4, true) })
		synctest.Wait()
		wantEqual(t, v4.String(), b.has())
		wantEqual(t, time.Time{}, lastDefence(b.i, v4))
		// A second removal soon after it counts as that of another program.
		b.k.alter(func() { b.k.remove(v4, true) })
		synctest.Wait()
		wantEqual(t, v4.String(), b.has())
		wantEqual(t, time.Now(), lastDefence(b.i, v4))
	})
}

func TestAnAddressThatCouldNotBeRenewedInTimeIsNoConflict(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		bind(t, b.i, v4)
		b.k.alter(func() { b.k.fail = errors.New("no buffer space") })
		b.renewing(5) // its lifetime of 3 s ends meanwhile
		wantEqual(t, "", b.has())
		b.k.alter(func() { b.k.fail = nil })
		b.renewing(1)
		wantEqual(t, v4.String(), b.has())
		wantEqual(t, time.Time{}, lastDefence(b.i, v4))
	})
}

// The rest of a lifetime in an answer of the kernel is older than the answer.
func TestTheDelaysOfABusyHostAreNoConflict(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.k.alter(func() { b.k.slow = 1700 * time.Millisecond })
		for range 20 {
			time.Sleep(time.Second)
			b.lease.set(time.Hour)
			b.i.Renewed()
		}
		b.k.alter(func() { b.k.slow = 0 })
		time.Sleep(10 * time.Second) // no goroutine may wait for the lock of one that sleeps
		wantEqual(t, time.Time{}, lastDefence(b.i, v4))
		if len(b.changes) != 1 {
			t.Errorf("want no change but the binding, got %d", len(b.changes))
		}
	})
}

// A kernel that does not answer is not a reason to let an address expire.
func TestAddressesThatCannotBeReadAreRenewed(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	inBubble(t, func(o *Options) { o.Journal = journal.New(zap.New(core)) }, func(t *testing.T, b *bubble) {
		bind(t, b.i, v4, v6)
		b.k.alter(func() { b.k.blind = errors.New("no buffer space") })
		b.renewing(20)
		b.k.alter(func() { b.k.blind = nil })
		b.renewing(2)
		if len(b.changes) != 2 {
			t.Errorf("want no change but the two bindings, got %d", len(b.changes))
		}
		wantEqual(t, 1, logs.FilterMessage(unobservable.Over).Len())
	})
}

func TestAWatchThatFailsIsBegunAnewAndWhatItMissedIsFound(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			bind(t, b.i, v4)
			b.until(100 * time.Millisecond) // nothing is due
			b.k.alter(func() {
				delete(b.k.addrs, v4) // its event is lost
				b.k.watchErrs = []error{errors.New("bad file descriptor")}
				b.k.events <- event{err: errWatch}
			})
			synctest.Wait()
			wantEqual(t, v4.String(), b.has())
		})
	})
	t.Run("kernel", func(t *testing.T) {
		w := kernelWorld(t)
		i := running(t, w, options(t))
		bind(t, i, v4)
		w.next(t, v4, true)
		must(t, i.kernel.(*linux).events.SetReadDeadline(time.Time{})) // it is read from
		must(t, i.kernel.(*linux).events.Close())
		w.remove(v4)
		w.next(t, v4, false)
		w.next(t, v4, true)
	})
}

// A process that cannot watch its interface ends with the error, and is started again.
func TestAWatchThatCannotBeBegunAnewEndsTheBindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		w := fakeWorld(t, k)
		o := options(t)
		h := &Host{interfaces: map[string]*Interface{"eth0": w.open(t, o)}}
		for range 100 {
			k.watchErrs = append(k.watchErrs, errWatch)
		}
		err := h.Serve(t.Context(), func(ctx context.Context) error {
			return h.Interface("eth0").Bind(ctx, []netip.Prefix{v4}, func() {})
		})
		if !errors.Is(err, errWatch) || !strings.Contains(err.Error(), "watch interface eth0") {
			t.Errorf("want the error of the watch, got %v", err)
		}
		wantEqual(t, "", w.has())
	})
}

func TestAnAnnouncementThatTheKernelRefusesIsSentLaterAndToldOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	inBubble(t, func(o *Options) { o.Journal, o.Announce = journal.New(zap.New(core)), Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		b.k.alter(func() { b.k.full = errors.New("no buffer space available") })
		bind(t, b.i, v4, v6)
		b.until(2100 * time.Millisecond)
		b.k.alter(func() { b.k.full = nil })
		b.until(time.Minute)
		wantEqual(t, len(burst), announced(b.heard(), v4.Addr()))
		wantEqual(t, len(burst), announced(b.heard(), v6.Addr()))
		wantEqual(t, 1, logs.FilterMessage(unannounced.Text).Len())
		wantEqual(t, 1, logs.FilterMessage(unannounced.Over).Len())
	})
}

// In a hand-over of hundreds of instances, owners change all the time.
func TestAnOwnerThatChangesElsewhereCausesNoReadingAndNoRenewal(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(10100 * time.Millisecond)
		observations, binds := b.k.counted(), len(b.k.bound())
		for range 100 {
			time.Sleep(6 * time.Millisecond)
			b.i.Moved()
			synctest.Wait()
		}
		wantEqual(t, 0, b.k.counted()-observations)
		wantEqual(t, 0, len(b.k.bound())-binds)
	})
}

// together calls Bind for each address, and has all calls served at once.
func together(t *testing.T, b *bubble, addrs []netip.Prefix) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
	var bound, ended sync.WaitGroup
	bound.Add(len(addrs))
	b.i.mu.Lock()
	for _, p := range addrs {
		ended.Go(func() {
			if err := b.i.Bind(ctx, []netip.Prefix{p}, bound.Done); !errors.Is(err, errDemoted) {
				t.Errorf("want %v, got %v", errDemoted, err)
			}
		})
	}
	b.i.untilWaiting(len(addrs))
	b.i.mu.Unlock()
	bound.Wait()
	t.Cleanup(func() { cancel(errDemoted); ended.Wait() })
}

func TestAnAddressIsAnnouncedBeforeHundredsOfOthersAreBound(t *testing.T) {
	inBubble(t, func(o *Options) { o.Managed, o.Announce = thousand(), Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		together(t, b, thousand()[:200])
		heard, calls := b.heard(), b.k.bound()
		if len(calls) < 200/beginSize {
			t.Errorf("want a call for %d addresses at most, got %d calls for 200", beginSize, len(calls))
		}
		sent, begun := map[netip.Addr]int{}, 0 // place of its first announcement among the frames
		for n, f := range heard {
			if a, _, ok := parseARP(f.data); ok && sent[a] == 0 {
				sent[a] = n
			}
		}
		for n, call := range calls[:len(calls)-1] {
			if begun >= 200 {
				break // renewals follow
			}
			begun += len(call.addrs)
			for _, p := range call.addrs {
				if next := calls[n+1].sent; sent[p.Addr()] == 0 || sent[p.Addr()] >= next || len(call.addrs) > beginSize {
					t.Errorf("want %v announced before more than %d others are bound, got it after frame %d in a call for %d", p, beginSize, next, len(call.addrs))
				}
			}
		}
	})
}

// Their announcements are due at as many times.
func TestAnnouncementsOfHundredsOfAddressesCauseNoReading(t *testing.T) {
	inBubble(t, func(o *Options) { o.Managed, o.Announce = thousand(), Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		for _, p := range thousand()[:100] {
			bind(t, b.i, p)
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		before := b.k.counted()
		b.until(700 * time.Millisecond) // a renewal is due later
		wantEqual(t, 0, b.k.counted()-before)
		for _, p := range thousand()[:100] {
			wantEqual(t, len(burst), announced(b.heard(), p.Addr()))
		}
	})
}
