package netif

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// allowed are the seconds of the defences in 45 s of a dispute without pause.
var allowed = []time.Duration{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 19, 29, 39}

func TestDefencesAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name   string
		bound  bool
		attack func(*bubble)
		answer func(*bubble) []time.Time
	}{
		{"deleted repeatedly", true,
			func(b *bubble) { b.remove(v4) },
			func(b *bubble) (at []time.Time) {
				for _, f := range b.k.bound()[2:] { // without the first and its renewal
					at = append(at, f.at)
				}
				return at
			}},
		{"added repeatedly", false,
			func(b *bubble) {
				b.k.alter(func() {
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
		{"claimed repeatedly", true,
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
		var told atomic.Bool
		inBubble(t, func(o *Options) {
			o.Announce, o.Journal = Announce{}, journal.New(zap.New(core))
			o.Contested = func(p netip.Prefix, on bool) { told.Store(on && p == v4) }
			o.Elsewhere = func(netip.Prefix) bool { return true }
		}, func(t *testing.T, b *bubble) {
			b.lease.set(time.Hour)
			if tt.bound {
				bind(t, b.i, v4)
				b.until(time.Second) // after the burst
			}
			began := time.Now()
			for time.Since(began) < 45*time.Second {
				tt.attack(b)
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
			wantEqual(t, true, told.Load())
			got := tt.answer(b)
			var at []time.Duration
			for _, a := range got {
				at = append(at, a.Sub(began)/time.Second)
			}
			wantEqual(t, allowed, at)
			time.Sleep(100 * time.Second)
			synctest.Wait()
			wantEqual(t, false, told.Load())
		})
		var said []string
		for _, l := range logs.All() {
			said = append(said, l.Message)
		}
		if n := len(said); n != 11 || said[9] != contested.Text || said[10] != contested.Over {
			t.Errorf("%s: want nine warnings, one that it is contested and its end, got %d: %q", tt.name, n, said)
		}
	}
}

func TestAnAddressOfAnotherHostIsFoundWithoutACallOfMoved(t *testing.T) {
	var answer atomic.Bool
	inBubble(t, func(o *Options) { o.Elsewhere = func(netip.Prefix) bool { return answer.Load() } }, func(t *testing.T, b *bubble) {
		b.add(v4)
		b.until(2500 * time.Millisecond)
		answer.Store(true)
		b.next(t, v4, true)
		wantEqual(t, 3*time.Second, b.next(t, v4, false).Sub(b.began))
	})
}

func TestAFlapOfTheLinkIsNoConflict(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		bind(t, b.i, v6)
		b.until(100 * time.Millisecond) // nothing is due
		b.down()
		b.up() // before the addresses are read
		b.until(150 * time.Millisecond)
		wantEqual(t, "2001:db8::254/128", b.has())
		wantEqual(t, time.Time{}, lastDefence(b.i, v6))
	})
}

func TestOwnFramesAreNoClaims(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		bind(t, b.i, v4)
		synctest.Wait() // a call of reconcile would answer the claim
		b.i.mu.Lock()
		defer b.i.mu.Unlock()
		if b.i.noteClaim(v4.Addr(), fakeMAC) || b.i.noteClaim(v6.Addr(), broadcast) {
			t.Error("want neither a claim with the own MAC nor one for an address without a binding to count")
		}
		if !b.i.noteClaim(v4.Addr(), broadcast) || b.i.noteClaim(v4.Addr(), broadcast) {
			t.Error("want only the first of many claims to be news")
		}
	})
}
