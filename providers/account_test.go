package providers_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/providers"
	"berth/vrrp"
)

var (
	a1 = netip.MustParseAddr("192.0.2.1")
	a2 = netip.MustParseAddr("2001:db8::2")
)

// cloud is a Provider of functions that records what it is asked.
type cloud struct {
	start   time.Time
	observe func(context.Context, []netip.Addr) (map[netip.Addr]providers.Holder, error)
	claim   func(context.Context, netip.Addr) error

	mu           sync.Mutex
	observations []string // time since start, and addresses
	log          []string
}

func newCloud() *cloud {
	c := &cloud{start: time.Now()}
	c.observe = func(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
		return all(addrs, providers.Holder{Kind: providers.Mine}), nil
	}
	c.claim = func(context.Context, netip.Addr) error { return nil }
	return c
}

func all(addrs []netip.Addr, h providers.Holder) map[netip.Addr]providers.Holder {
	m := map[netip.Addr]providers.Holder{}
	for _, a := range addrs {
		m[a] = h
	}
	return m
}

func (c *cloud) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, what)
}

func (c *cloud) Observe(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	c.mu.Lock()
	c.observations = append(c.observations, fmt.Sprintf("%s %v", time.Since(c.start), addrs))
	c.log = append(c.log, "observe")
	c.mu.Unlock()
	return c.observe(ctx, addrs)
}

func (c *cloud) Claim(ctx context.Context, a netip.Addr, check func(context.Context) error) error {
	if err := check(ctx); err != nil {
		return err
	}
	c.note("claim " + a.String())
	return c.claim(ctx, a)
}

func (c *cloud) Self(context.Context) (providers.Server, error) { return providers.Server{}, nil }

func permit(context.Context) error { return nil }

func floating(a netip.Addr) vrrp.FloatingIP {
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(a, 24)}
}

// slowly makes observations take a time, at most until their context ends.
func slowly(d time.Duration) func(context.Context, []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	return func(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
		select {
		case <-time.After(d):
			return all(addrs, providers.Holder{Kind: providers.Mine}), nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func TestOneObservationServesABurstAndCoversAllTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.observe = slowly(50 * time.Millisecond)
		a := providers.NewAccount("test", c)
		for _, addr := range []netip.Addr{a1, a2} {
			defer a.Target(floating(addr), permit).Close()
		}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if h, err := a.Observe(t.Context(), []netip.Addr{a1, a2}[i%2], time.Time{}); err != nil || h.Kind != providers.Mine {
					t.Errorf("want mine, got %+v, %v", h, err)
				}
			})
		}
		wg.Wait()
		if d := cmp.Diff([]string{"0s [192.0.2.1 2001:db8::2]"}, c.observations); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}

func TestSnapshotServesForOneSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		a := providers.NewAccount("test", c)
		observe := func(notBefore time.Time) {
			if _, err := a.Observe(t.Context(), a1, notBefore); err != nil {
				t.Error(err)
			}
		}
		observe(time.Time{})
		time.Sleep(time.Second)
		observe(time.Time{}) // just young enough
		observe(c.start)     // started at that very time
		time.Sleep(time.Millisecond)
		observe(time.Time{})
		time.Sleep(500 * time.Millisecond)
		observe(time.Now()) // the snapshot is young, but from before
		want := []string{"0s [192.0.2.1]", "1.001s [192.0.2.1]", "1.501s [192.0.2.1]"}
		if d := cmp.Diff(want, c.observations); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}

func TestObservationsOfABurstAreSpaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.observe = slowly(10 * time.Millisecond)
		a := providers.NewAccount("test", c)
		var wg sync.WaitGroup
		for range 50 { // one every 10 ms, each wants an observation from now on
			wg.Go(func() {
				if _, err := a.Observe(t.Context(), a1, time.Now()); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		want := []string{"0s [192.0.2.1]", "200ms [192.0.2.1]", "400ms [192.0.2.1]", "600ms [192.0.2.1]"}
		if d := cmp.Diff(want, c.observations); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}

func TestHungObservationDoesNotDelayANewerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		quick, hung := c.observe, slowly(time.Hour)
		c.observe = func(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
			if time.Since(c.start) == 0 {
				return hung(ctx, addrs)
			}
			return quick(ctx, addrs)
		}
		a := providers.NewAccount("test", c)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { a.Observe(ctx, a1, time.Time{}) })
		time.Sleep(time.Second)
		if _, err := a.Observe(t.Context(), a1, time.Now()); err != nil {
			t.Error(err)
		}
		if took := time.Since(c.start); took != time.Second {
			t.Errorf("want an answer at once, it took until %s", took)
		}
		cancel()
		wg.Wait()
	})
}

func TestObservationOutlivesTheCallerThatBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.observe = slowly(time.Second)
		a := providers.NewAccount("test", c)
		reason := errors.New("demoted")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := a.Observe(ctx, a1, time.Time{})
			if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
				t.Errorf("who leaves: want context.Canceled and the cause, got %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if h, err := a.Observe(t.Context(), a1, time.Time{}); err != nil || h.Kind != providers.Mine {
				t.Errorf("who stays: want mine, got %+v, %v", h, err)
			}
		})
		synctest.Wait()
		cancel(reason)
		wg.Wait()
		if len(c.observations) != 1 {
			t.Errorf("want one observation, got %v", c.observations)
		}
	})
}

func TestObservationEndsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		ended := make(chan error, 1)
		c.observe = func(ctx context.Context, _ []netip.Addr) (map[netip.Addr]providers.Holder, error) {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, context.Cause(ctx)
		}
		a := providers.NewAccount("test", c)
		reason := errors.New("demoted")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			a.Observe(ctx, a1, time.Time{})
			select {
			case err := <-ended:
				if !errors.Is(err, reason) {
					t.Errorf("cause: want %v, got %v", reason, err)
				}
			default:
				t.Error("Observe returned before its observation had ended")
			}
		})
		synctest.Wait()
		cancel(reason)
		wg.Wait()
	})
}

func TestPlannedObservationIsNotMadeWhenNoCallerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		a := providers.NewAccount("test", c)
		a.Observe(t.Context(), a1, time.Time{})
		time.Sleep(time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // less than the gap
		defer cancel()
		if _, err := a.Observe(ctx, a1, time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("want the deadline, got %v", err)
		}
		time.Sleep(time.Second)
		if len(c.observations) != 1 {
			t.Errorf("want one observation, got %v", c.observations)
		}
	})
}

func TestFailedObservationIsToldToItsCallersAndToNoLaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		good := c.observe
		bad := errors.New("bad")
		c.observe = func(context.Context, []netip.Addr) (map[netip.Addr]providers.Holder, error) {
			time.Sleep(time.Millisecond)
			return nil, bad
		}
		a := providers.NewAccount("test", c)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := a.Observe(t.Context(), a1, time.Time{}); err != bad {
					t.Errorf("want %v, got %v", bad, err)
				}
			})
		}
		wg.Wait()
		c.observe = good
		if h, err := a.Observe(t.Context(), a1, time.Time{}); err != nil || h.Kind != providers.Mine {
			t.Errorf("want mine, got %+v, %v", h, err)
		}
		if len(c.observations) != 2 {
			t.Errorf("want two observations, got %v", c.observations)
		}
	})
}

func TestClosedTargetIsAskedForNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		a := providers.NewAccount("test", c)
		one, again, two := a.Target(floating(a1), permit), a.Target(floating(a1), permit), a.Target(floating(a2), permit)
		for range 4 {
			if _, err := a.Observe(t.Context(), a2, time.Now()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			one.Close() // the second time does nothing
			if len(c.observations) == 3 {
				again.Close()
			}
		}
		two.Close()
		want := []string{"0s [192.0.2.1 2001:db8::2]", "1s [192.0.2.1 2001:db8::2]", "2s [192.0.2.1 2001:db8::2]", "3s [2001:db8::2]"}
		if d := cmp.Diff(want, c.observations); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}

func TestEnsure(t *testing.T) {
	fenced := errors.New("fenced")
	refused := &providers.Error{Provider: "test", Op: "point floating IP", Kind: providers.Auth, Status: 403}
	lost := &providers.Error{Provider: "test", Op: "point floating IP", Kind: providers.Transient}
	other := providers.Holder{Kind: providers.Other, Owner: "server X"}
	mine := providers.Holder{Kind: providers.Mine, Owner: "me"}
	tests := []struct {
		name         string
		claimFirst   bool
		holders      []providers.Holder // what one observation after the other shows
		check, claim error
		wantPrevious string
		wantChanged  bool
		wantErr      string // part of it, "" for none
		wantKind     providers.Kind
		wantLog      string
	}{
		{"claim first observes only afterwards", true, []providers.Holder{mine}, nil, nil, "", true, "", "", "check, claim 192.0.2.1, observe"},
		{"what is here is not claimed", false, []providers.Holder{mine}, nil, nil, "", false, "", "", "observe"},
		{"what is elsewhere is claimed", false, []providers.Holder{other, mine}, nil, nil, "server X", true, "", "", "observe, check, claim 192.0.2.1, observe"},
		{"what others may have too is not claimed blindly", false, []providers.Holder{{Kind: providers.Unknown, Owner: "being counted"}}, nil, nil, "", false,
			"192.0.2.1 points here, and perhaps at other servers too: being counted", providers.Transient, "observe"},
		{"what others may have too is not a success", true, []providers.Holder{{Kind: providers.Unknown, Owner: "being counted"}}, nil, nil, "", true,
			"192.0.2.1 points here, and perhaps at other servers too: being counted", providers.Transient, "check, claim 192.0.2.1, observe"},
		{"what points nowhere is claimed", false, []providers.Holder{{Kind: providers.Nobody}, mine}, nil, nil, "", true, "", "", "observe, check, claim 192.0.2.1, observe"},
		{"what a load balancer has is claimed", false, []providers.Holder{{Kind: providers.NotServer, Owner: "load balancer web"}, mine}, nil, nil, "load balancer web", true, "", "", "observe, check, claim 192.0.2.1, observe"},
		{"a foreign address is not claimed", false, []providers.Holder{{Kind: providers.NotManaged}}, nil, nil, "", false, "192.0.2.1 is not a floating IP of this account", providers.NotFound, "observe"},
		{"without a permit nothing is written", true, nil, fenced, nil, "", false, "fenced", "", "check"},
		{"without a permit nothing is taken back", false, []providers.Holder{other}, fenced, nil, "server X", false, "fenced", "", "observe, check"},
		{"a refused claim is not read back", true, nil, nil, refused, "", false, "HTTP status 403", providers.Auth, "check, claim 192.0.2.1"},
		{"a lost response is an error", false, []providers.Holder{other}, nil, lost, "server X", false, "point floating IP", providers.Transient, "observe, check, claim 192.0.2.1"},
		{"a claim that did not work is an error", true, []providers.Holder{other}, nil, nil, "", true, "192.0.2.1 was pointed here but is with server X", providers.Transient, "check, claim 192.0.2.1, observe"},
		{"a claim that ended nowhere is an error", true, []providers.Holder{{Kind: providers.Nobody}}, nil, nil, "", true, "but points nowhere", providers.Transient, "check, claim 192.0.2.1, observe"},
		{"a claim that ended off the account is an error", true, []providers.Holder{{}}, nil, nil, "", true, "not a floating IP of this account", providers.NotFound, "check, claim 192.0.2.1, observe"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCloud()
				c.observe = func(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
					h := tt.holders[0]
					tt.holders = tt.holders[1:]
					return all(addrs, h), nil
				}
				c.claim = func(context.Context, netip.Addr) error { return tt.claim }
				target := providers.NewAccount("test", c).Target(floating(a1), func(context.Context) error {
					c.note("check")
					return tt.check
				})
				defer target.Close()
				previous, changed, err := target.Ensure(t.Context(), tt.claimFirst)
				if previous != tt.wantPrevious || changed != tt.wantChanged {
					t.Errorf("want previous %q, changed %v, got %q, %v", tt.wantPrevious, tt.wantChanged, previous, changed)
				}
				if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error: want %q, got %v", tt.wantErr, err)
				}
				if e, _ := errors.AsType[*providers.Error](err); tt.wantKind != "" && (e == nil || e.RefreshClass() != string(tt.wantKind)) {
					t.Errorf("kind: want %s, got %v", tt.wantKind, err)
				}
				if tt.check != nil && err != tt.check {
					t.Errorf("want the permit's own error, got %v", err)
				}
				if d := cmp.Diff(strings.Split(tt.wantLog, ", "), c.log); d != "" {
					t.Errorf("want-, got+:\n%s", d)
				}
			})
		})
	}
}

func TestEnsureAfterAFailedClaimObservesAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		here := false
		c.observe = func(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
			if here {
				return all(addrs, providers.Holder{Kind: providers.Mine}), nil
			}
			return all(addrs, providers.Holder{Kind: providers.Other, Owner: "X"}), nil
		}
		c.claim = func(context.Context, netip.Addr) error {
			here = true
			return errors.New("response lost")
		}
		target := providers.NewAccount("test", c).Target(floating(a1), permit)
		defer target.Close()
		if _, _, err := target.Ensure(t.Context(), false); err == nil {
			t.Fatal("want an error")
		}
		previous, changed, err := target.Ensure(t.Context(), false)
		if previous != "" || changed || err != nil {
			t.Errorf("want that it is here already, got %q, %v, %v", previous, changed, err)
		}
		if d := cmp.Diff([]string{"observe", "claim 192.0.2.1", "observe"}, c.log); d != "" {
			t.Errorf("want-, got+:\n%s", d)
		}
	})
}

func TestTenTargetsReadBackInTwoObservations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		c.observe = slowly(20 * time.Millisecond)
		a := providers.NewAccount("test", c)
		var wg sync.WaitGroup
		addr := a1
		for i := range 10 {
			target := a.Target(floating(addr), permit)
			defer target.Close()
			addr = addr.Next()
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if _, _, err := target.Ensure(t.Context(), true); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(c.observations) != 2 {
			t.Errorf("want two observations, got %v", c.observations)
		}
		if n := len(slices.DeleteFunc(c.log, func(s string) bool { return s == "observe" })); n != 10 {
			t.Errorf("want ten claims, got %d", n)
		}
	})
}
