package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// account is a provider's account that refuses or accepts what many loops ask.
type account struct {
	start  time.Time
	answer func(n int, address string, since time.Duration) error // n: attempts of all before
	began  func(address string)                                   // an attempt; may be nil

	mu       sync.Mutex
	attempts []attempt
	here     map[string]time.Duration // since when each address is
}

type attempt struct {
	address string
	at      time.Duration
	refused bool
}

// of is an address of the account.
type of struct {
	a       *account
	address string
}

func (o of) Close() {}

func (o of) Ensure(ctx context.Context, claimFirst bool) (string, bool, error) {
	a := o.a
	if a.began != nil {
		a.began(o.address)
	}
	select {
	case <-time.After(20 * time.Millisecond): // as a call takes
	case <-ctx.Done():
		return "", false, ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	since := time.Since(a.start)
	err := a.answer(len(a.attempts), o.address, since)
	_, refused := errors.AsType[*failure](err)
	a.attempts = append(a.attempts, attempt{o.address, since, refused})
	if _, known := a.here[o.address]; err == nil && !known {
		a.here[o.address] = since
	}
	return "", claimFirst && err == nil, err
}

// between returns how many attempts were made in a time, and of which addresses.
func (a *account) between(from, to time.Duration, address string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.attempts {
		if at.at >= from && at.at < to && (address == "" || at.address == address) {
			n++
		}
	}
	return n
}

// hereSince returns since when an address is here.
func (a *account) hereSince(ip vrrp.FloatingIP) (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, here := a.here[ip.String()]
	return at, here
}

func ipOf(i int) vrrp.FloatingIP {
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)}
}

// holding is the time in which addresses of an account are wanted here; stop ends it.
type holding struct {
	set  *refresher.Set
	ctx  context.Context
	stop func()
	logs *observer.ObservedLogs
}

func hold(ctx context.Context, a *account, gate *refresher.Gate, pace *refresher.Pace, first, n int) *holding {
	core, logs := observer.New(zapcore.InfoLevel)
	h := &holding{logs: logs}
	h.set = &refresher.Set{Loop: func(ip vrrp.FloatingIP) *refresher.Loop {
		return &refresher.Loop{Target: of{a, ip.String()}, Policy: testPolicy(), Pace: pace, Gate: gate, Journal: journal.New(zap.New(core))}
	}}
	ctx, cancel := context.WithCancelCause(ctx)
	h.ctx = ctx
	h.stop = func() {
		cancel(errors.New("demoted"))
		h.set.Wait()
	}
	var ips []vrrp.FloatingIP
	for i := range n {
		ips = append(ips, ipOf(first+i))
	}
	h.set.Want(ctx, ips)
	return h
}

func newAccount(answer func(n int, address string, since time.Duration) error) *account {
	return &account{start: time.Now(), here: map[string]time.Duration{}, answer: answer}
}

var refusedAuth = &failure{class: "auth"}

func TestARefusedAccountIsTriedByOneAddressForTwoHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const until = 100 * time.Second
		a := newAccount(func(_ int, _ string, since time.Duration) error {
			if since < until {
				return refusedAuth
			}
			return nil
		})
		h := hold(t.Context(), a, &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}, 1, 200)
		defer h.stop()
		time.Sleep(until)
		// The first claims are out before the first answer.
		if n := a.between(time.Second/4, until, ""); n < 10 || n > 40 {
			t.Errorf("%d attempts while the account was refused, want those of one address", n)
		}
		time.Sleep(20 * time.Second)
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.here) != 200 {
			t.Fatalf("%d of 200 addresses are here 20 s after the account was restored", len(a.here))
		}
		all := slices.Sorted(maps.Values(a.here))
		if all[0] > until+16*time.Second {
			t.Errorf("the first got through at %v", all[0])
		}
		if late := all[199] - all[0]; late > 100*time.Millisecond {
			t.Errorf("the last address came %v after the first that got through, want at once", late)
		}
	})
}

func TestAccountThatStaysRefusedIsTriedOnceInARefreshInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(func(int, string, time.Duration) error { return refusedAuth })
		h := hold(t.Context(), a, &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}, 1, 200)
		defer h.stop()
		time.Sleep(time.Hour)
		if n := a.between(0, 4*time.Minute, ""); n > 200+41 {
			t.Errorf("%d attempts in four minutes, want the first claims and 40", n)
		}
		if n := a.between(4*time.Minute, time.Hour, ""); n < 50 || n > 64 {
			t.Errorf("%d attempts in 56 minutes more, want one in each refresh interval for all addresses", n)
		}
		if n := h.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n == 0 {
			t.Error("want an ERROR when the refusal has proved permanent")
		}
	})
}

func TestAnotherAddressTakesOverWhenTheProbingOneIsRemovedOrItsHoldingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, pace := &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}
		a := newAccount(func(_ int, _ string, since time.Duration) error {
			if since < 30*time.Second {
				return refusedAuth
			}
			return nil
		})
		first := hold(t.Context(), a, gate, pace, 1, 10)
		second := hold(t.Context(), a, gate, pace, 101, 10)
		defer second.stop()
		// The address that has probed last is removed right after its probe, and then
		// while the probe is under way.
		left := map[string]bool{}
		var wanted []vrrp.FloatingIP
		for i := range 10 {
			wanted = append(wanted, ipOf(1+i))
		}
		for range 8 {
			time.Sleep(1500 * time.Millisecond)
			a.mu.Lock()
			last := a.attempts[len(a.attempts)-1].address
			a.mu.Unlock()
			left[last] = true
			wanted = slices.DeleteFunc(wanted, func(ip vrrp.FloatingIP) bool { return ip.String() == last })
			first.set.Want(first.ctx, wanted)
		}
		first.stop()
		for range 3 {
			time.Sleep(5 * time.Second)
			since := time.Since(a.start)
			if n := a.between(since-5*time.Second, since, ""); n == 0 || n > 25 {
				t.Errorf("%d attempts from %v to %v, want some of one address after the other", n, since-5*time.Second, since)
			}
		}
		time.Sleep(45*time.Second - time.Since(a.start))
		for i := range 10 {
			if _, here := a.hereSince(ipOf(101 + i)); !here {
				t.Errorf("%s is not here 15 s after the account was restored", ipOf(101+i))
			}
		}
	})
}

func TestAProbeThatIsUnderWayWhenItsHoldingEndsDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, pace := &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}
		a := newAccount(func(_ int, _ string, since time.Duration) error {
			if since < 4*time.Second {
				return refusedAuth
			}
			return nil
		})
		var mu sync.Mutex
		holdings := map[string]*holding{}
		var stopping sync.WaitGroup
		a.began = func(address string) {
			mu.Lock()
			defer mu.Unlock()
			h := holdings[address]
			if time.Since(a.start) < time.Second/4 || h == nil || len(holdings) == 1 {
				return
			}
			delete(holdings, address)
			stopping.Go(h.stop)
		}
		mu.Lock()
		for i := range 5 {
			holdings[ipOf(1+i).String()] = hold(t.Context(), a, gate, pace, 1+i, 1)
		}
		mu.Unlock()
		time.Sleep(10 * time.Second)
		stopping.Wait()
		if len(holdings) != 1 {
			t.Fatalf("%d holdings are left, want the one that never probed: each probe took the place of the former at once", len(holdings))
		}
		for address, h := range holdings {
			if n := a.between(4*time.Second, time.Hour, address); n == 0 {
				t.Errorf("%s was not tried any more", address)
			}
			h.stop()
		}
		if len(a.here) != 1 {
			t.Errorf("here at the end: %v, want the address that was left", a.here)
		}
	})
}

func TestOneForbiddenObjectDelaysNoOtherAddress(t *testing.T) {
	for _, forbidden := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(forbidden, " forbidden"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate, pace := &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}
				bad := map[string]bool{}
				for i := range forbidden {
					bad[ipOf(1+i).String()] = true
				}
				a := newAccount(func(_ int, address string, _ time.Duration) error {
					if bad[address] {
						return refusedAuth
					}
					return nil
				})
				h := hold(t.Context(), a, gate, pace, 1, 10)
				defer h.stop()
				// Instances that become MASTER later, at odd moments.
				for i := range 20 {
					time.Sleep(7777 * time.Millisecond)
					begun := time.Since(a.start)
					late := hold(t.Context(), a, gate, pace, 100+i, 1)
					defer late.stop()
					time.Sleep(time.Second)
					if got, here := a.hereSince(ipOf(100 + i)); !here || got-begun > 50*time.Millisecond {
						t.Errorf("an address that was wanted at %v was here at %v, want at once", begun, got)
					}
				}
				time.Sleep(57 * time.Minute)
				for i := range 10 - forbidden {
					if got, _ := a.hereSince(ipOf(1 + forbidden + i)); got > 50*time.Millisecond {
						t.Errorf("%s was here after %v, want at once", ipOf(1+forbidden+i), got)
					}
				}
				for address := range bad {
					if n := a.between(0, 10*time.Minute, address); n > 60 {
						t.Errorf("the forbidden %s was tried %d times in ten minutes", address, n)
					}
					if n := a.between(10*time.Minute, time.Hour, address); n < 20 || n > 130 {
						t.Errorf("the forbidden %s was tried %d times in 50 minutes, want once or twice in a refresh interval", address, n)
					}
				}
			})
		})
	}
}

func TestAnAddressThatFailsOtherwiseDelaysNoOtherAtTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, pace := &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}
		a := newAccount(func(_ int, address string, _ time.Duration) error {
			switch address {
			case ipOf(1).String(), ipOf(2).String():
				return refusedAuth
			case ipOf(3).String():
				return &failure{class: "transient"}
			}
			return nil
		})
		forbidden := hold(t.Context(), a, gate, pace, 1, 2)
		defer forbidden.stop()
		time.Sleep(40 * time.Second) // the pace of probes has slowed down
		failing := hold(t.Context(), a, gate, pace, 3, 1)
		defer failing.stop()
		time.Sleep(time.Second / 4)
		good := hold(t.Context(), a, gate, pace, 4, 1)
		defer good.stop()
		time.Sleep(time.Second / 2)
		if at, here := a.hereSince(ipOf(4)); !here || at > 40*time.Second+300*time.Millisecond {
			t.Errorf("the good address was here at %v (%v), want at once", at, here)
		}
	})
}

func TestAHalfRestoredAPIIsUsedAndNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(func(n int, _ string, since time.Duration) error {
			if since < 20*time.Second || since < 5*time.Minute && n%2 == 0 { // one of two gateways
				return refusedAuth
			}
			return nil
		})
		h := hold(t.Context(), a, &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}, 1, 200)
		defer h.stop()
		time.Sleep(75 * time.Second)
		a.mu.Lock()
		if n := len(a.here); n < 195 {
			t.Errorf("%d of 200 addresses are here 55 s after one of two gateways was restored", n)
		}
		refused := 0
		for _, at := range a.attempts {
			if at.refused && at.at > 20*time.Second {
				refused++
			}
		}
		if refused > 1000 {
			t.Errorf("%d refusals by the gateway that was not restored", refused)
		}
		a.mu.Unlock()
		time.Sleep(10*time.Minute - time.Since(a.start))
		// Intervals of 54 to 66 s: two to four beats, in which all addresses take part.
		if n := a.between(7*time.Minute, 10*time.Minute, ""); n < 380 || n > 830 {
			t.Errorf("%d attempts in the last three minutes, want two to four of each address", n)
		}
	})
}

func TestTheGateStaysShutWhenTheAddressesThatWereRefusedLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, pace := &refresher.Gate{}, &refresher.Pace{Interval: time.Minute}
		a := newAccount(func(_ int, _ string, since time.Duration) error {
			if since < 30*time.Second {
				return refusedAuth
			}
			return nil
		})
		refused := hold(t.Context(), a, gate, pace, 1, 2)
		time.Sleep(time.Second / 4)
		others := hold(t.Context(), a, gate, pace, 101, 50)
		time.Sleep(time.Second / 4)
		refused.stop()
		time.Sleep(time.Second)
		if n := a.between(time.Second/4, time.Hour, ""); n > 5 {
			t.Errorf("%d attempts within a second and a half, want those of one address", n)
		}
		others.stop()
		// After the last holding nothing is known of the account: the next claims go out at once.
		begun := time.Since(a.start)
		last := hold(t.Context(), a, gate, pace, 1, 20)
		defer last.stop()
		time.Sleep(time.Second / 10)
		if n := a.between(begun, time.Hour, ""); n != 20 {
			t.Errorf("%d of 20 addresses were claimed at once after the gate had been left", n)
		}
	})
}
