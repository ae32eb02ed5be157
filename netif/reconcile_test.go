package netif

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestLifetimesAreRenewedInOneBatchAndNeverPassTheEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		bind(t, b.i, v4)
		bind(t, b.i, v6)
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

func TestWithoutRenewalTheKernelRemovesTheAddressAndALaterEndRestoresIt(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		bind(t, b.i, v4)
		b.until(4900 * time.Millisecond)
		wantEqual(t, []string{"0s:3", "745ms:3"}, b.binds())
		b.next(t, v4, true)
		wantEqual(t, 4345*time.Millisecond, b.next(t, v4, false).Sub(b.began))
		b.until(8 * time.Second)
		b.lease.set(5 * time.Second)
		b.i.Renewed()
		wantEqual(t, 8*time.Second, b.next(t, v4, true).Sub(b.began))
		if at := lastDefence(b.i, v4); !at.IsZero() {
			t.Error("want no dispute with the kernel")
		}
	})
}

func TestAtTheEndTheAddressIsRemovedEvenIfTheKernelDoesNot(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, b *bubble) {
		b.k.late = time.Hour
		bind(t, b.i, v4)
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
			bind(t, b.i, v4)
			b.lease.set(tt.left)
			b.i.Renewed()
			b.next(t, v4, true)
			if got := b.next(t, v4, false).Sub(b.began); got > max(0, tt.left) || got < tt.want {
				t.Errorf("%s: want it gone after %v, got %v", tt.name, tt.want, got)
			}
		})
	}
}

func TestWhatWasMissedIsFound(t *testing.T) {
	inBubble(t, func(o *Options) { o.Announce = Announce{} }, func(t *testing.T, b *bubble) {
		b.lease.set(time.Hour)
		bind(t, b.i, v4)
		b.until(time.Minute)
		for _, tt := range []struct {
			name   string
			happen func()
			after  time.Duration
		}{
			{"events are lost", func() {
				b.k.alter(func() { delete(b.k.addrs, v4) })
				b.k.events <- event{kind: missed}
			}, 0},
			{"the kernel does not answer for a while", func() {
				b.k.alter(func() { b.k.blind = errors.New("no buffer space") })
				b.remove(v4)
				time.Sleep(300 * time.Millisecond)
				b.k.alter(func() { b.k.blind = nil })
			}, time.Second - 250*time.Millisecond - renewBefore}, // when it is renewed
			{"it is a duplicate", func() {
				b.k.alter(func() { b.k.set(address{prefix: v4, valid: time.Minute, duplicate: true}) })
			}, 0},
			{"the kernel refuses at first", func() {
				b.k.alter(func() { b.k.fail = errors.New("no buffer space") })
				b.remove(v4)
				synctest.Wait()
				b.k.alter(func() { b.k.fail = nil })
			}, observeAgain},
		} {
			time.Sleep(time.Minute)
			before, at := len(b.binds()), time.Now()
			tt.happen()
			b.wait("the address bound again", func() bool { return len(b.binds()) > before })
			wantEqual(t, tt.after, b.k.bound()[before].at.Sub(at))
			_, list, _ := b.k.state(false)
			if len(list) != 1 || list[0].duplicate {
				t.Errorf("%s: want it usable, got %v", tt.name, list)
			}
		}
	})
}

func TestDecide(t *testing.T) {
	now := time.Now()
	ours := address{prefix: v4, valid: 3 * time.Second}
	there := func(a ...address) []address { return a }
	for _, tt := range []struct {
		name            string
		there           []address
		down            bool
		end             time.Duration // from now
		until           time.Duration // from now
		absenceExpected bool
		want            decision
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
		{"its lifetime was over", nil, false, 5 * time.Second, 0, false, restored},
		{"gone, link down", nil, true, 5 * time.Second, 3 * time.Second, true, absent},
		{"gone, and no lease", nil, false, 2 * time.Second, 0, false, absent},
		{"the kernel is about to remove it", there(address{prefix: v4}), false, 2 * time.Second, 500 * time.Millisecond, false, stays},
		{"made permanent, too late for a lifetime", there(address{prefix: v4, valid: forever}), false, 2 * time.Second, 500 * time.Millisecond, false, expires},
		{"the kernel would remove it too late", there(ours), false, 2 * time.Second, 3 * time.Second, false, expires},
		{"at the end", there(address{prefix: v4}), false, 0, -2 * time.Second, false, expires},
	} {
		b := &binding{prefix: v4, until: now.Add(tt.until), latest: now.Add(tt.until), absenceExpected: tt.absenceExpected}
		for n := range tt.there {
			tt.there[n].seen = now
		}
		if got := b.decide(tt.there, !tt.down, now.Add(tt.end), now); got != tt.want {
			t.Errorf("%s: want decision %d, got %d", tt.name, tt.want, got)
		}
	}
}

// The second address comes while the kernel is answering for the first.
func TestAnAddressThatComesWhileTheKernelIsAskedIsSeen(t *testing.T) {
	inBubble(t, func(o *Options) { o.Elsewhere = func(netip.Prefix) bool { return true } }, func(t *testing.T, b *bubble) {
		synctest.Wait()
		b.k.alter(func() { b.k.slow = 10 * time.Millisecond })
		b.add(v4)
		time.Sleep(5 * time.Millisecond)
		b.add(v6)
		time.Sleep(150 * time.Millisecond)
		b.k.alter(func() { b.k.slow = 0 })
		wantEqual(t, "", b.has())
	})
}
