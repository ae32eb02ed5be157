package pointing

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"berth/providers"
	"berth/refresher"
)

// adoptedFor is how long after Adopt a loop may suppose that an address is here. A host
// that has not become the owner by then claims without an observation before, as any
// other does: another can have had the address meanwhile.
const adoptedFor = time.Minute

// ErrNoAccount tells that there is no provider whose account could be asked: a claim is
// only printed, or the provider is none.
var ErrNoAccount = errors.New("no provider's account can be asked")

// Adopt finds out which of addrs are here, until the provider has told, or for
// adoptionTime. The first loop of an address that points at this host alone observes before
// it claims, if it begins within a minute, so that the owner that was started again writes
// nothing; so does that of each address while the provider has not told. It is for a source
// of events that knows its state only some time after the start. Afterwards the loops claim
// first. An error says what failed last; it is ErrNoAccount without a provider.
func (c *Cloud) Adopt(ctx context.Context, addrs []netip.Addr) error {
	if c.account == nil {
		return ErrNoAccount
	}
	ctx, cancel := context.WithTimeoutCause(ctx, adoptionTime, fmt.Errorf("no observation within %v", adoptionTime))
	defer cancel()
	c.mu.Lock()
	c.found = map[netip.Addr]time.Time{}
	for _, addr := range addrs {
		c.found[addr] = time.Time{} // perhaps; the loop observes by itself
	}
	c.mu.Unlock()
	for spacing := refresher.NewSpacing(c.o.Policy); ; {
		holders, err := c.o.Provider.Observe(ctx, addrs)
		if err == nil {
			c.tookOver(holders)
			return nil
		}
		select {
		case <-ctx.Done():
			c.tookOver(nil)
			return fmt.Errorf("find out which addresses are here: %w (%w)", context.Cause(ctx), err)
		case <-time.After(max(spacing.Next(err), time.Second)):
		}
	}
}

// adoptionTime bounds Adopt. It is longer than a call may take, because the answer to
// several calls can be needed.
const adoptionTime = 5 * time.Minute

// tookOver notes which addresses are here.
func (c *Cloud) tookOver(holders map[netip.Addr]providers.Holder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	former := c.found
	c.found = map[netip.Addr]time.Time{}
	for addr, h := range holders {
		if _, waits := former[addr]; waits && h.Kind == providers.Mine {
			c.found[addr] = time.Now()
		}
	}
}

// adopted tells, once, whether Adopt found addr here a short time ago, or may find it here.
func (c *Cloud) adopted(addr netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.found[addr]
	delete(c.found, addr)
	return ok && (at.IsZero() || time.Since(at) <= adoptedFor)
}

// Observe returns the holder of addr from an observation that begins now. Without a
// provider the error is ErrNoAccount.
func (c *Cloud) Observe(ctx context.Context, addr netip.Addr) (providers.Holder, error) {
	if c.account == nil {
		return providers.Holder{}, ErrNoAccount
	}
	return c.account.ObserveAnew(ctx, addr)
}

// Self returns this host as the provider knows it. Without a provider the error is
// ErrNoAccount.
func (c *Cloud) Self(ctx context.Context) (providers.Server, error) {
	if c.account == nil {
		return providers.Server{}, ErrNoAccount
	}
	return c.o.Provider.Self(ctx)
}

// Releases tells that an address can be made to point away from this host. The provider
// exec may still answer that its program does not do that.
func (c *Cloud) Releases() bool {
	_, ok := c.o.Provider.(providers.Releaser)
	return ok
}

// Shares tells that several servers can have an address at once, so that this host can
// have one beside another.
func (c *Cloud) Shares() bool {
	_, ok := c.o.Provider.(providers.Peered)
	return ok
}

// Release makes addr point away from this host, see providers.Releaser; no loop of the
// address may run. check must return nil right before each write. The error is
// errors.ErrUnsupported where Releases is false.
func (c *Cloud) Release(ctx context.Context, addr netip.Addr, check func(context.Context) error) error {
	p, ok := c.o.Provider.(providers.Releaser)
	if !ok {
		return fmt.Errorf("release %s: provider %s: %w", addr, c.o.Name, errors.ErrUnsupported)
	}
	return p.Release(ctx, addr, check)
}

// Group reads the servers of a group, see providers.Grouper. The error is
// errors.ErrUnsupported where the provider knows no groups.
func (c *Cloud) Group(ctx context.Context, name string) ([]providers.Member, error) {
	p, ok := c.o.Provider.(providers.Grouper)
	if !ok {
		return nil, fmt.Errorf("read group %q: provider %s: %w", name, c.o.Name, errors.ErrUnsupported)
	}
	return p.Group(ctx, name)
}

// SetPeers tells the provider which servers may have this host's addresses beside it,
// see providers.Peered. It has no effect at a provider where only one server can have an
// address.
func (c *Cloud) SetPeers(ids []string) {
	if p, ok := c.o.Provider.(providers.Peered); ok {
		p.SetPeers(ids)
	}
}
