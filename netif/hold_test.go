//go:build linux

package netif

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"berth/internal/metrics"
)

// lease is an end that a test moves.
type lease struct {
	mu  sync.Mutex
	end time.Time
}

func (l *lease) set(left time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = time.Now().Add(left)
}

func (l *lease) get() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// bubble is a fake kernel and an interface on it, run in a bubble of synctest.
type bubble struct {
	*world
	k     *fakeKernel
	i     *Interface
	lease lease
	began time.Time
}

// inBubble runs a test body with a lease of 5 s that nobody renews.
func inBubble(t *testing.T, change func(*Options), body func(*testing.T, *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{k: newFakeKernel(), began: time.Now()}
		b.world = fakeWorld(t, b.k)
		b.lease.set(5 * time.Second)
		o := options(t)
		o.End = b.lease.get
		if change != nil {
			change(&o)
		}
		b.i = running(t, b.world, o)
		body(t, b)
	})
}

// until lets the time of the bubble pass up to this long after it began.
func (b *bubble) until(d time.Duration) {
	time.Sleep(time.Until(b.began.Add(d)))
	synctest.Wait()
}

// renewing renews the lease once a second for as long.
func (b *bubble) renewing(seconds int) {
	for range seconds {
		time.Sleep(time.Second)
		b.lease.set(5 * time.Second)
		b.i.Renewed()
		synctest.Wait()
	}
}

// binds lists how often and for how many seconds, as "0s:3".
func (b *bubble) binds() (list []string) {
	for _, f := range b.k.bound() {
		list = append(list, f.at.Sub(b.began).String()+":"+string(rune('0'+f.seconds)))
	}
	return list
}

func wantEqual[T any](t *testing.T, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
}

func TestLifetimesAreRenewedInOneBatchAndNeverPassTheEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		hold(t, b.i, v4)
		hold(t, b.i, v6)
		b.renewing(3)
		// When the lease moves, and before the whole second that follows.
		wantEqual(t, []string{"0s:3", "0s:3", "745ms:3", "1s:3", "1.745s:3", "2s:3", "2.745s:3", "3s:3"}, b.binds())
		for _, f := range b.k.bound()[2:] {
			if len(f.addrs) != 2 {
				t.Errorf("want both addresses renewed at %v, got %v", f.at.Sub(b.began), f.addrs)
			}
		}
		if len(b.changes) != 2 {
			t.Errorf("want no change but the two bindings, got %d", len(b.changes))
		}
	})
}

func TestWithoutRenewalTheKernelEndsItAndALaterEndBringsItBack(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		hold(t, b.i, v4)
		b.until(4900 * time.Millisecond)
		wantEqual(t, []string{"0s:3", "745ms:3"}, b.binds())
		b.next(t, v4, true)
		wantEqual(t, 4345*time.Millisecond, b.next(t, v4, false).Sub(b.began))
		b.until(8 * time.Second)
		b.lease.set(5 * time.Second)
		b.i.Renewed()
		wantEqual(t, 8*time.Second, b.next(t, v4, true).Sub(b.began))
		if at := lastFight(b.i, v4); !at.IsZero() {
			t.Error("want no fight with the own kernel")
		}
	})
}

func TestAtTheEndTheAddressIsRemovedEvenIfTheKernelDoesNot(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.k.late = time.Hour
		hold(t, b.i, v4)
		b.next(t, v4, true)
		wantEqual(t, 5*time.Second, b.next(t, v4, false).Sub(b.began))
		heard := len(b.heard())
		b.i.Announce()
		b.until(time.Minute)
		wantEqual(t, heard, len(b.heard()))
		wantEqual(t, "", b.has())
	})
}

func TestTheEndComesNearer(t *testing.T) {
	for _, tt := range []struct {
		name string
		left time.Duration
		want time.Duration // when it goes
	}{
		{"to another whole second", 3 * time.Second, 1600 * time.Millisecond},
		{"too near for a lifetime", time.Second, 0},
		{"it has passed", -time.Second, 0},
	} {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			b.lease.set(time.Hour)
			hold(t, b.i, v4)
			b.lease.set(tt.left)
			b.i.Renewed()
			b.next(t, v4, true)
			if got := b.next(t, v4, false).Sub(b.began); got > max(0, tt.left) || got < tt.want {
				t.Errorf("%s: want it gone after %v, got %v", tt.name, tt.want, got)
			}
		})
	}
}

func TestStandingStillBetweenTheClockAndTheKernel(t *testing.T) {
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
			// To stand still is to have that much less left.
			b.k.before = func() { b.lease.set(5*time.Second - tt.stall) }
			ctx, cancel := context.WithCancelCause(context.WithoutCancel(t.Context()))
			err := b.i.Hold(ctx, []netip.Prefix{v4}, func() { cancel(nil) })
			if tt.err == nil {
				wantEqual(t, []string{"0s:3", "0s:2"}, b.binds())
			} else if !errors.Is(err, tt.err) {
				t.Errorf("%s: want %v, got %v", tt.name, tt.err, err)
			}
			wantEqual(t, "", b.has())
		})
	}
}

func TestAHoldThatEndsWhileItBindsLeavesNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		ctx, cancel := context.WithCancelCause(t.Context())
		b.k.before = func() { cancel(errDemoted) }
		err := b.i.Hold(ctx, []netip.Prefix{v4, v6}, func() { t.Error("want it not called bound") })
		if !errors.Is(err, errDemoted) {
			t.Errorf("want %v, got %v", errDemoted, err)
		}
		wantEqual(t, "", b.has())
		if got := announced(b.heard(), v4.Addr()); got > 0 {
			t.Errorf("want no announcement, got %d", got)
		}
		// One that ended before it began removes what it was to adopt.
		b.add(v4)
		if err := b.i.Hold(ctx, []netip.Prefix{v4}, nil); !errors.Is(err, errDemoted) {
			t.Errorf("want %v, got %v", errDemoted, err)
		}
		wantEqual(t, "", b.has())
	})
}

func TestHoldFails(t *testing.T) {
	refused := errors.New("operation not permitted")
	for _, tt := range []struct {
		name  string
		spoil func(*bubble)
		addr  netip.Prefix
		want  string
	}{
		{"too little is left of the lease", func(b *bubble) { b.lease.set(2200 * time.Millisecond) }, v4, "bind 192.0.2.254/32 to eth0: what is left of the lease is too short"},
		{"the kernel refuses", func(b *bubble) { b.k.behind(func() { b.k.fail = refused }) }, v4, "bind 192.0.2.254/32 to eth0: " + refused.Error()},
		{"the kernel does not answer", func(b *bubble) { b.k.behind(func() { b.k.blind = refused }) }, v4, "look at eth0: " + refused.Error()},
		{"an address that is not managed", func(*bubble) {}, netip.MustParsePrefix("192.0.2.1/32"), "bind 192.0.2.1/32 to eth0: it is not among the managed addresses"},
	} {
		inBubble(t, nil, func(t *testing.T, b *bubble) {
			tt.spoil(b)
			err := b.i.Hold(t.Context(), []netip.Prefix{tt.addr}, func() { t.Error("want it not called bound") })
			if err == nil || err.Error() != tt.want {
				t.Errorf("%s: want %q, got %v", tt.name, tt.want, err)
			}
			b.k.behind(func() { b.k.fail, b.k.blind = nil, nil })
			b.lease.set(5 * time.Second)
			hold(t, b.i, v4, v6)
		})
	}
}

func TestWhatIsMissedIsFound(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		hold(t, b.i, v4)
		b.until(time.Minute)
		for _, tt := range []struct {
			name   string
			happen func()
			after  time.Duration
		}{
			{"events are lost", func() {
				b.k.behind(func() { delete(b.k.addrs, v4) })
				b.k.events <- event{kind: missed}
			}, 0},
			{"the kernel does not answer for a while", func() {
				b.k.behind(func() { b.k.blind = errors.New("no buffer space") })
				b.remove(v4)
				time.Sleep(300 * time.Millisecond)
				b.k.behind(func() { b.k.blind = nil })
			}, time.Second - 250*time.Millisecond - early}, // when it is renewed
			{"it is a duplicate", func() {
				b.k.behind(func() { b.k.set(address{prefix: v4, valid: time.Minute, duplicate: true}) })
			}, 0},
			{"the kernel refuses at first", func() {
				b.k.behind(func() { b.k.fail = errors.New("no buffer space") })
				b.remove(v4)
				synctest.Wait()
				b.k.behind(func() { b.k.fail = nil })
			}, lookAgain},
		} {
			time.Sleep(time.Minute)
			before, at := len(b.binds()), time.Now()
			tt.happen()
			b.wait("it bound again", func() bool { return len(b.binds()) > before })
			wantEqual(t, tt.after, b.k.bound()[before].at.Sub(at))
			_, list, _ := b.k.state(false)
			if len(list) != 1 || list[0].duplicate {
				t.Errorf("%s: want it whole, got %v", tt.name, list)
			}
		}
	})
}

// limits is what the bounds allow within 45 s of a fight without pause.
var limits = []time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 19, 29, 39}

func TestFightsAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		held   bool
		attack func(*bubble)
		answer func(*bubble) []time.Time
	}{
		{"deleted again and again", true,
			func(b *bubble) { b.remove(v4) },
			func(b *bubble) (at []time.Time) {
				for _, f := range b.k.bound()[2:] { // without the first and its prolongation
					at = append(at, f.at)
				}
				return at
			}},
		{"added again and again", false,
			func(b *bubble) {
				b.k.behind(func() {
					if b.k.addrs[v4] == nil {
						b.k.set(address{prefix: v4, valid: forever})
					}
				})
			},
			func(b *bubble) (at []time.Time) {
				for range len(b.changes) {
					if c := <-b.changes; !c.added {
						at = append(at, c.at)
					}
				}
				return at
			}},
		{"claimed again and again", true,
			func(b *bubble) { b.claim(v4.Addr()) },
			func(b *bubble) (at []time.Time) {
				for _, f := range b.heard()[1+2*len(burst):] { // the probe and the first pairs
					if f.data[ethernetLen+7] == arpReply {
						at = append(at, f.at)
					}
				}
				return at
			}},
	} {
		core, logs := observer.New(zap.InfoLevel)
		var contested atomic.Bool
		inBubble(t, func(o *Options) {
			o.Announce, o.Log = Announce{}, zap.New(core)
			o.Contested = func(p netip.Prefix, on bool) { contested.Store(on && p == v4) }
			o.Elsewhere = func(netip.Prefix) bool { return true }
		}, func(t *testing.T, b *bubble) {
			b.lease.set(time.Hour)
			if tt.held {
				hold(t, b.i, v4)
				b.until(time.Second) // after the burst
			}
			began := time.Now()
			for time.Since(began) < 45*time.Second {
				tt.attack(b)
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
			wantEqual(t, true, contested.Load())
			got := tt.answer(b)
			var at []time.Duration
			for _, a := range got {
				at = append(at, a.Sub(began)/time.Second)
			}
			wantEqual(t, limits, at)
			time.Sleep(100 * time.Second)
			synctest.Wait()
			wantEqual(t, false, contested.Load())
		})
		var said []string
		for _, l := range logs.All() {
			said = append(said, l.Message)
		}
		if n := len(said); n != 11 || !strings.Contains(said[9], "contested") || said[10] != "the address is no longer contested" {
			t.Errorf("%s: want nine warnings, one that it is contested and its end, got %d: %q", tt.name, n, said)
		}
	}
}

func TestWhatBelongsElsewhereIsFoundWithoutBeingTold(t *testing.T) {
	var answer atomic.Bool
	inBubble(t, func(o *Options) { o.Elsewhere = func(netip.Prefix) bool { return answer.Load() } }, func(t *testing.T, b *bubble) {
		b.add(v4)
		b.until(2500 * time.Millisecond)
		answer.Store(true)
		b.next(t, v4, true)
		wantEqual(t, 3*time.Second, b.next(t, v4, false).Sub(b.began))
	})
}

func TestAnnouncementsFollowTheirSchedule(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{Count: 2, Interval: time.Second, Refresh: time.Minute} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		end := hold(t, b.i, v6)
		b.until(150 * time.Second)
		b.i.Announce() // the network has healed
		b.until(150100 * time.Millisecond)
		b.i.Announce() // too soon after the last
		b.until(152 * time.Second)
		end(errDemoted)
		b.until(time.Hour)
		var got []string
		for _, f := range b.heard() {
			if describe(f.data) != "solicitation from :: to ff02::1:ff00:254" {
				got = append(got, f.at.Sub(b.began).String())
			}
		}
		wantEqual(t, []string{"0s", "200ms", "500ms", "1.5s", "2.5s", "1m2.5s", "2m2.5s", "2m30s", "2m30.2s", "2m30.5s", "2m31s", "2m31.2s", "2m31.5s"}, got)
	})
}

func TestAnnounceWithoutRepeats(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		hold(t, b.i, v4)
		b.until(30 * time.Minute)
		wantEqual(t, len(burst), announced(b.heard(), v4.Addr()))
	})
}

func TestAnInterfaceWithoutEthernetIsBoundButNotAnnouncedOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.k.setLink(link{index: 7, name: "eth0", up: true, carrier: true})
		hold(t, b.i, v4, v6)
		b.until(time.Second)
		wantEqual(t, "192.0.2.254/32 2001:db8::254/128", b.has())
		wantEqual(t, 0, len(b.heard()))
	})
}

func TestAnotherMACIsAnnounced(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		hold(t, b.i, v4)
		b.until(time.Minute)
		b.k.setLink(link{index: 7, name: "eth0", up: true, carrier: true, mac: net.HardwareAddr{2, 0, 0, 0, 0, 7}})
		b.until(time.Hour / 2)
		wantEqual(t, 2*len(burst), announced(b.heard(), v4.Addr()))
	})
}

func TestJudge(t *testing.T) {
	now := time.Now()
	ours := address{prefix: v4, valid: 3 * time.Second}
	there := func(a ...address) []address { return a }
	for _, tt := range []struct {
		name    string
		there   []address
		down    bool
		end     time.Duration // from now
		until   time.Duration // from now
		excused bool
		want    verdict
	}{
		{"as it was bound", there(ours), false, 5 * time.Second, 3 * time.Second, false, stays},
		{"as it was bound, link down", there(ours), true, 5 * time.Second, 3 * time.Second, false, stays},
		{"longer than the end allows", there(ours), false, 4 * time.Second, 3 * time.Second, false, shorten},
		{"made permanent", there(address{prefix: v4, valid: forever}), false, 5 * time.Second, 3 * time.Second, false, defended},
		{"made longer", there(address{prefix: v4, valid: 5 * time.Second}), false, 5 * time.Second, 3 * time.Second, false, defended},
		{"a second one beside it", there(ours, address{prefix: netip.MustParsePrefix("192.0.2.254/24"), valid: time.Second}), false, 5 * time.Second, 3 * time.Second, false, defended},
		{"a duplicate", there(address{prefix: v4, duplicate: true}), false, 5 * time.Second, 3 * time.Second, true, defended},
		{"deleted", nil, false, 5 * time.Second, 3 * time.Second, false, defended},
		{"deleted with the link", nil, false, 5 * time.Second, 3 * time.Second, true, restored},
		{"its life was over", nil, false, 5 * time.Second, 0, false, restored},
		{"gone, link down", nil, true, 5 * time.Second, 3 * time.Second, true, absent},
		{"gone, and no lease", nil, false, 2 * time.Second, 0, false, absent},
		{"the kernel is about to take it", there(address{prefix: v4}), false, 2 * time.Second, 500 * time.Millisecond, false, stays},
		{"made permanent, too late for a lifetime", there(address{prefix: v4, valid: forever}), false, 2 * time.Second, 500 * time.Millisecond, false, expires},
		{"the kernel would take it too late", there(ours), false, 2 * time.Second, 3 * time.Second, false, expires},
		{"at the end", there(address{prefix: v4}), false, 0, -2 * time.Second, false, expires},
	} {
		b := &binding{prefix: v4, until: now.Add(tt.until), latest: now.Add(tt.until), excused: tt.excused}
		for n := range tt.there {
			tt.there[n].seen = now
		}
		if got := b.judge(tt.there, !tt.down, now.Add(tt.end), now); got != tt.want {
			t.Errorf("%s: want verdict %d, got %d", tt.name, tt.want, got)
		}
	}
}

func TestAFlapOfTheLinkIsNoFight(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		hold(t, b.i, v6)
		b.until(100 * time.Millisecond) // nothing is due
		b.down()
		b.up() // before anybody had time to look
		b.until(150 * time.Millisecond)
		wantEqual(t, "2001:db8::254/128", b.has())
		wantEqual(t, time.Time{}, lastFight(b.i, v6))
	})
}

func TestWhatWasLeftIsNotRemovedUntilItWasHeldAgain(t *testing.T) {
	inBubble(t, func(o *Options) { o.Elsewhere = func(netip.Prefix) bool { return true } }, func(t *testing.T, b *bubble) {
		hold(t, b.i, v4)(ErrLeave)
		b.until(time.Second)
		wantEqual(t, "192.0.2.254/32", b.has())
		hold(t, b.i, v4)(errDemoted)
		b.add(v4)
		b.until(2 * time.Second)
		wantEqual(t, "", b.has())
	})
}

func TestTheEndOfAHoldRemovesWhatAFightLeft(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		end := hold(t, b.i, v4)
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

func TestOwnFramesAreNoClaim(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		hold(t, b.i, v4)
		synctest.Wait() // a review would answer the claim
		b.i.mu.Lock()
		defer b.i.mu.Unlock()
		if b.i.disputed(v4.Addr(), fakeMAC) || b.i.disputed(v6.Addr(), broadcast) {
			t.Error("want neither the own MAC nor an address that is not held to matter")
		}
		if !b.i.disputed(v4.Addr(), broadcast) || b.i.disputed(v4.Addr(), broadcast) {
			t.Error("want only the first of many claims to be news")
		}
	})
}

// Between a review and its frames the process may stand still.
func TestNothingIsAnnouncedPastTheEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		hold(t, b.i, v4)
		before := len(b.heard())
		b.i.mu.Lock()
		b.lease.set(-time.Second)
		must(t, b.i.send(b.i.held[v4.Addr()]))
		b.i.mu.Unlock()
		wantEqual(t, before, len(b.heard()))
	})
}

func TestTheRecordHasWhatIsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bound")
	inBubble(t, func(o *Options) { o.Record = path }, func(t *testing.T, b *bubble) {
		end := hold(t, b.i, v4)
		text, err := os.ReadFile(path)
		must(t, err)
		wantEqual(t, `{"protocol":190,"addresses":["192.0.2.254/32"]}`+"\n", string(text))
		end(errDemoted)
		text, err = os.ReadFile(path)
		must(t, err)
		wantEqual(t, `{"protocol":190,"addresses":[]}`+"\n", string(text))
	})
	must(t, os.WriteFile(path, []byte(`{"interface":"eth0","protocol":190,"addresses":["192.0.2.254/32"]}`), 0o600))
	for _, tt := range []struct {
		name string
		a    address
		want bool
	}{
		{"marked", address{prefix: v4, valid: time.Second, proto: protocol}, true},
		{"on a kernel without marks", address{prefix: v4, valid: time.Second}, true},
		{"another's", address{prefix: v4, valid: time.Second, proto: 3}, false},
		{"permanent", address{prefix: v4, valid: forever, proto: protocol}, false},
		{"not recorded", address{prefix: v6, valid: time.Second, proto: protocol}, false},
		{"on any interface", address{on: 9, prefix: v4, valid: time.Second, proto: protocol}, true},
	} {
		if got := openRecord(path).left(tt.a); got != tt.want {
			t.Errorf("%s: want left over %v, got %v", tt.name, tt.want, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	var r metrics.Registry
	inBubble(t, func(o *Options) {
		o.Metrics = NewMetrics(&r)
		o.Announce = Announce{}
	}, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		hold(t, b.i, v4)
		b.until(time.Second)
		b.remove(v4)
		b.claim(v4.Addr())
		b.until(2 * time.Second)
		var text strings.Builder
		must(t, r.WriteText(&text))
		want := []string{
			`berth_interface_ready{interface="eth0"} 1`,
			`berth_address_bound{address="192.0.2.254"} 1`,
			`berth_address_bound{address="2001:db8::254"} 0`,
			`berth_address_contested{address="192.0.2.254"} 0`,
			`berth_address_contested{address="2001:db8::254"} 0`,
			`berth_address_astray{address="192.0.2.254"} 0`,
			`berth_address_astray{address="2001:db8::254"} 0`,
			`berth_address_defences_total{address="192.0.2.254",reason="added"} 0`,
			`berth_address_defences_total{address="192.0.2.254",reason="claimed"} 1`,
			`berth_address_defences_total{address="192.0.2.254",reason="deleted"} 1`,
			`berth_address_defences_total{address="2001:db8::254",reason="added"} 0`,
			`berth_address_defences_total{address="2001:db8::254",reason="claimed"} 0`,
			`berth_address_defences_total{address="2001:db8::254",reason="deleted"} 0`,
			`berth_announcements_total{address="192.0.2.254"} 7`,
			`berth_announcements_total{address="2001:db8::254"} 0`,
		}
		got := slices.DeleteFunc(strings.Split(strings.TrimSpace(text.String()), "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
		wantEqual(t, want, got)
	})
}
