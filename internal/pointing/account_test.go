package pointing_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/pointing"
	"berth/providers"
	"berth/vrrp"
)

// account is a provider with one address, that can all that a provider can.
type account struct {
	providers.Provider
	holders  map[netip.Addr]providers.Holder
	err      error
	failures int // of observations
	released []netip.Addr
	told     []string
}

func (a *account) Observe(_ context.Context, addrs []netip.Addr) (map[netip.Addr]providers.Holder, error) {
	if a.err != nil {
		a.failures++
	}
	return a.holders, a.err
}

func (a *account) Self(context.Context) (providers.Server, error) {
	return providers.Server{ID: "1"}, nil
}

func (a *account) Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	a.released = append(a.released, addr)
	return check(ctx)
}

func (a *account) Group(context.Context, string) ([]providers.Member, error) {
	return []providers.Member{{Self: true}}, nil
}

func (a *account) SetPeers(ids []string) { a.told = ids }

var (
	one   = netip.MustParseAddr("192.0.2.1")
	two   = netip.MustParseAddr("192.0.2.2")
	three = netip.MustParseAddr("192.0.2.3")
)

func permit(context.Context) error { return nil }

func TestLoopSupposesHereWhatWasAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &account{holders: map[netip.Addr]providers.Holder{
			one: {Kind: providers.Mine}, two: {Kind: providers.Other, Beside: true}, three: {Kind: providers.Mine}}}
		c := pointing.New(pointing.Options{Name: "p", Provider: p, Journal: journal.New(nil)})
		supposed := func(addr netip.Addr) bool {
			return c.Loop("VI_1", vrrp.FloatingIP{Prefix: netip.PrefixFrom(addr, 32)}, permit, journal.New(nil)).Supposed
		}
		if supposed(one) {
			t.Error("supposed here before it was looked for")
		}
		p.err = errors.New("not now")
		begun := time.Now()
		if err := c.Adopt(t.Context(), []netip.Addr{one}); !errors.Is(err, p.err) || supposed(one) || time.Since(begun) != 5*time.Minute || p.failures < 10 {
			t.Errorf("want the error of the provider after 5 minutes, and nothing supposed, got %v after %v and %d tries", err, time.Since(begun), p.failures)
		}
		// Until the provider has told, any address may be here, and is told about once.
		done := make(chan error, 1)
		go func() { done <- c.Adopt(t.Context(), []netip.Addr{one, two, three}) }()
		time.Sleep(2 * time.Minute)
		if !supposed(three) || supposed(three) {
			t.Error("want an address supposed once while the provider has not told")
		}
		time.Sleep(4 * time.Minute)
		<-done
		p.err = nil
		if err := c.Adopt(t.Context(), []netip.Addr{one, two, three}); err != nil {
			t.Error(err)
		}
		if !supposed(one) || supposed(two) {
			t.Error("want the address supposed that is here alone, and no other")
		}
		if supposed(one) {
			t.Error("want it supposed once")
		}
		time.Sleep(time.Minute + time.Second)
		if supposed(three) {
			t.Error("supposed a minute later, when another can have had it")
		}
	})
}

func TestCloudPassesOnWhatTheProviderOffers(t *testing.T) {
	p := &account{holders: map[netip.Addr]providers.Holder{one: {Kind: providers.Other, Owner: "lb2"}}}
	c := pointing.New(pointing.Options{Name: "p", Provider: p, Journal: journal.New(nil)})
	if h, err := c.Observe(t.Context(), one); err != nil || h.Owner != "lb2" {
		t.Errorf("observe: %+v, %v", h, err)
	}
	if s, err := c.Self(t.Context()); err != nil || s.ID != "1" {
		t.Errorf("self: %+v, %v", s, err)
	}
	if m, err := c.Group(t.Context(), "web"); err != nil || len(m) != 1 {
		t.Errorf("group: %+v, %v", m, err)
	}
	forbidden := errors.New("fenced")
	if err := c.Release(t.Context(), one, func(context.Context) error { return forbidden }); !c.Releases() || err != forbidden || len(p.released) != 1 {
		t.Errorf("release: %v, %v, %v", c.Releases(), err, p.released)
	}
	if c.SetPeers([]string{"2"}); len(p.told) != 1 {
		t.Errorf("peers: told %v", p.told)
	}
}

func TestCloudTellsWhatTheProviderDoesNotOffer(t *testing.T) {
	c := pointing.New(pointing.Options{Name: "p", Provider: &trusting{}, Journal: journal.New(nil)})
	c.SetPeers([]string{"2"})
	if _, err := c.Group(t.Context(), "web"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("group: %v", err)
	}
	if err := c.Release(t.Context(), one, permit); c.Releases() || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("release: %v, %v", c.Releases(), err)
	}
	without := pointing.New(pointing.Options{Name: "none", Journal: journal.New(nil)})
	without.SetPeers(nil)
	if err := without.Adopt(t.Context(), nil); !errors.Is(err, pointing.ErrNoAccount) {
		t.Errorf("adopt: %v", err)
	}
	if _, err := without.Observe(t.Context(), one); !errors.Is(err, pointing.ErrNoAccount) {
		t.Errorf("observe: %v", err)
	}
	if _, err := without.Self(t.Context()); !errors.Is(err, pointing.ErrNoAccount) || without.Releases() {
		t.Errorf("self: %v", err)
	}
}
