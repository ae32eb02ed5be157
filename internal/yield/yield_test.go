package yield_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/guard"
	"berth/internal/journal"
	"berth/internal/yield"
	"berth/providers"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var (
	errOver = errors.New("test is over")
	one     = netip.MustParseAddr("192.0.2.10")
)

// cloud is a provider at which this host and another can have the floating IP.
type cloud struct {
	mu          sync.Mutex
	here, there bool
	err         error
	slow        time.Duration
	observed    []time.Duration // since the beginning
	begun       time.Time
	releases    int
	late        func() // called while a release is on the wire
}

func (c *cloud) Observe(ctx context.Context, addr netip.Addr) (providers.Holder, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observed = append(c.observed, time.Since(c.begun))
	switch {
	case c.err != nil:
		return providers.Holder{}, c.err
	case c.here && c.there:
		return providers.Holder{Kind: providers.Other, Owner: "lb2 beside this host", Beside: true}, nil
	case c.here:
		return providers.Holder{Kind: providers.Mine}, nil
	case c.there:
		return providers.Holder{Kind: providers.Other, Owner: "lb2"}, nil
	}
	return providers.Holder{Kind: providers.Nobody}, nil
}

func (c *cloud) Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	if err := check(ctx); err != nil {
		return err
	}
	if c.late != nil {
		c.late()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(c.slow):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.releases++
	c.here = false
	return nil
}

func (c *cloud) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *cloud) state() (here bool, observations, releases int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.here, len(c.observed), c.releases
}

// play runs a set for the duration of f.
func play(t *testing.T, c *cloud, outranked func() bool, f func(t *testing.T, s *yield.Set, logs *observer.ObservedLogs)) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		c.begun = time.Now()
		s := yield.New(yield.Options{Addresses: []netip.Addr{one}, Provider: c, Outranked: func(netip.Addr) bool { return outranked() },
			Interval: time.Second, Longest: 10 * time.Second, Timeout: 10 * time.Second, Journal: journal.New(zap.New(core))})
		ctx, end := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		f(t, s, logs)
		end(errOver)
		if err := <-done; err != errOver {
			t.Errorf("got %v, want the cause", err)
		}
	})
}

func always() bool { return true }

func codes(logs *observer.ObservedLogs) string {
	var all []string
	for _, l := range logs.All() {
		all = append(all, l.ContextMap()["code"].(string))
	}
	return strings.Join(all, " ")
}

func TestAFloatingIPIsGivenUpOnlyWhenAnotherServerHasItToo(t *testing.T) {
	c := &cloud{here: true}
	play(t, c, always, func(t *testing.T, s *yield.Set, logs *observer.ObservedLogs) {
		s.Begin(one.String())
		s.Begin(one.String())
		time.Sleep(time.Hour)
		here, n, _ := c.state()
		if !here {
			t.Error("the only server was detached")
		}
		if n > 400 || n < 300 {
			t.Errorf("observed %d times in an hour, want a back-off to 10 s", n)
		}
		c.set(func() { c.there = true })
		time.Sleep(11 * time.Second)
		if here, _, releases := c.state(); here || releases != 1 {
			t.Errorf("here %t, %d releases; want this host detached once", here, releases)
		}
		time.Sleep(time.Minute)
		_, n, _ = c.state()
		time.Sleep(time.Hour)
		if _, now, releases := c.state(); now != n || releases != 1 {
			t.Errorf("observed %d times more, %d releases; want an end", now-n, releases)
		}
		if got := codes(logs); got != "floating-ip-yielded" {
			t.Errorf("told %s", got)
		}
	})
}

// A claim that was on the wire when the ownership ended is carried out a while later.
func TestAClaimThatIsCarriedOutLateIsUndone(t *testing.T) {
	c := &cloud{there: true}
	play(t, c, always, func(t *testing.T, s *yield.Set, _ *observer.ObservedLogs) {
		s.Begin(one.String())
		time.Sleep(8 * time.Second)
		c.set(func() { c.here = true })
		time.Sleep(30 * time.Second)
		if here, _, _ := c.state(); here {
			t.Error("this host still has the floating IP")
		}
	})
}

func TestNothingIsGivenUpToAPeerThatDoesNotLive(t *testing.T) {
	c := &cloud{here: true, there: true}
	play(t, c, func() bool { return false }, func(t *testing.T, s *yield.Set, _ *observer.ObservedLogs) {
		s.Begin(one.String())
		time.Sleep(time.Hour)
		if here, _, releases := c.state(); !here || releases != 0 {
			t.Errorf("here %t, %d releases", here, releases)
		}
	})
	// It dies between the observation and the write.
	calls := 0
	c = &cloud{here: true, there: true}
	play(t, c, func() bool { calls++; return calls%2 == 1 }, func(t *testing.T, s *yield.Set, logs *observer.ObservedLogs) {
		s.Begin(one.String())
		time.Sleep(time.Hour)
		if here, _, releases := c.state(); !here || releases != 0 || logs.Len() != 0 {
			t.Errorf("here %t, %d releases, told %v", here, releases, logs.All())
		}
	})
}

// The release is on the wire when this host becomes the owner again.
func TestTheOwnerActsOnlyAfterAReleaseOnTheWireHasEnded(t *testing.T) {
	wire := make(chan struct{}, 1)
	c := &cloud{here: true, there: true, slow: 5 * time.Second, late: func() { wire <- struct{}{} }}
	play(t, c, always, func(t *testing.T, s *yield.Set, logs *observer.ObservedLogs) {
		s.Begin(one.String())
		<-wire
		over := errors.New("demoted")
		ctx, demote := context.WithCancelCause(t.Context())
		at := time.Now()
		var observations int
		time.AfterFunc(time.Hour, func() { demote(over) })
		err := s.While(ctx, one.String(), func(ctx context.Context, p *guard.Permit) error {
			if took := time.Since(at); took > 0 {
				t.Errorf("acts after %v, want the request on the wire ended at once", took)
			}
			if err := p.Check(ctx); err != nil {
				t.Errorf("the permit says %v", err)
			}
			_, observations, _ = c.state()
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if _, now, releases := c.state(); err != over || now != observations || releases != 0 {
			t.Errorf("got %v; %d observations and %d releases while this host was the owner", err, now-observations, releases)
		}
		c.late = nil
		s.Begin(one.String())
		time.Sleep(time.Minute)
		if here, _, _ := c.state(); here {
			t.Error("this host still has the floating IP")
		}
		if got := codes(logs); got != "floating-ip-yielded" {
			t.Errorf("told %s", got)
		}
	})
}

func TestAFailureIsToldOnceWithItsEnd(t *testing.T) {
	c := &cloud{here: true, there: true, err: errors.New("HTTP status 500")}
	play(t, c, always, func(t *testing.T, s *yield.Set, logs *observer.ObservedLogs) {
		s.Begin(one.String())
		time.Sleep(time.Hour)
		if got := codes(logs); got != "floating-ip-not-yielded" {
			t.Errorf("told %s", got)
		}
		c.set(func() { c.err = nil })
		time.Sleep(time.Minute)
		if got := codes(logs); got != "floating-ip-not-yielded floating-ip-yielded floating-ip-not-yielded" {
			t.Errorf("told %s", got)
		}
	})
}

func TestAnInstanceOfAnotherNameIsLetThrough(t *testing.T) {
	play(t, &cloud{}, always, func(t *testing.T, s *yield.Set, _ *observer.ObservedLogs) {
		s.Begin("198.51.100.1")
		err := s.While(t.Context(), "198.51.100.1", func(context.Context, *guard.Permit) error { return errOver })
		if err != errOver {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheReleaseAtTheEndHasALimitAndTellsEachAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		j := journal.New(zap.New(core))
		fast, hanging := &cloud{here: true}, &cloud{here: true, slow: time.Hour}
		yield.Release(t.Context(), fast, []netip.Addr{one}, 10*time.Second, j)
		at := time.Now()
		yield.Release(t.Context(), hanging, []netip.Addr{one, netip.MustParseAddr("2001:db8::1")}, 10*time.Second, j)
		if took := time.Since(at); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		got := strings.Fields(codes(logs))
		slices.Sort(got)
		if want := []string{"floating-ip-not-released", "floating-ip-not-released", "floating-ip-released"}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		if here, _, _ := fast.state(); here {
			t.Error("this host still has the floating IP")
		}
	})
}
