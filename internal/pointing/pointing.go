// Package pointing has what the loops of a process share to point floating IPs at this
// host: the provider's account, the rhythm of attempts, and what is made ready before
// the first claim. Where a claim is only printed, or there is no provider, the targets
// are made by the caller and there is no account.
package pointing

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"berth/internal/journal"
	"berth/providers"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Options is what a Cloud is made of.
type Options struct {
	Name string // of the provider, for the log
	// Provider is the provider whose account is shared, or nil where Target makes no calls.
	Provider providers.Provider
	// Target makes the target of a floating IP where Provider is nil. check must return
	// nil right before each write.
	Target  func(ip vrrp.FloatingIP, check func(context.Context) error) refresher.Target
	Policy  refresher.Policy
	Metrics *refresher.Metrics // nil counts nothing
	Journal *journal.Journal   // nil tells nothing
}

// Cloud is where floating IPs are pointed. Its methods may be called by several
// goroutines at once.
type Cloud struct {
	o       Options
	account *providers.Account // nil without a provider
	pace    *refresher.Pace    // of all addresses
	gate    *refresher.Gate    // of the account

	mu    sync.Mutex               // guards found
	found map[netip.Addr]time.Time // addresses that Adopt found here, and when
}

// New returns a cloud. It makes no calls.
func New(o Options) *Cloud {
	c := &Cloud{o: o, pace: &refresher.Pace{Interval: o.Policy.Interval}, gate: &refresher.Gate{}}
	if o.Provider != nil {
		c.account = providers.NewAccount(o.Name, o.Provider)
		c.o.Target = func(ip vrrp.FloatingIP, check func(context.Context) error) refresher.Target {
			return c.account.Target(ip, check)
		}
	}
	return c
}

// Loop returns the loop of an address of an instance. check must return nil right before
// each write. The lines of the loop have the fields of j. The loop supposes the address
// to be here if Adopt found it here.
func (c *Cloud) Loop(instance string, ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop {
	return &refresher.Loop{
		Target:   c.o.Target(ip, check),
		Policy:   c.o.Policy,
		Pace:     c.pace,
		Gate:     c.gate,
		Supposed: c.adopted(ip.Addr()),
		Unproven: c.account == nil,
		Series:   c.o.Metrics.Series(instance, ip.String()),
		Journal:  j.With(zap.String("address", ip.String()), zap.String("provider", c.o.Name)),
	}
}

// Policy returns how often and how persistently an address is tried.
func (c *Cloud) Policy() refresher.Policy { return c.o.Policy }

// Trust has the provider read the certificate authorities before the first handshake,
// and returns when ctx ends, with its cause.
func (c *Cloud) Trust(ctx context.Context) error {
	c.trust()
	return ended(ctx)
}

func (c *Cloud) trust() {
	if p, ok := c.o.Provider.(providers.Truster); ok {
		p.Trust()
	}
}

// Prepare does what Trust does, and has the provider look up, while there is time, what
// the first claim needs. Failures are not fatal; the claim itself looks up what is
// missing. It returns when ctx ends, with its cause.
func (c *Cloud) Prepare(ctx context.Context) error {
	c.trust()
	if p, ok := c.o.Provider.(providers.Preparer); ok {
		if err := refresher.Prepare(ctx, c.o.Policy, p.Prepare, c.o.Journal); err != nil {
			return err
		}
	}
	return ended(ctx)
}

// Audit makes the audits that the provider wants while addresses are held, until ctx
// ends, and returns its cause.
func (c *Cloud) Audit(ctx context.Context) error {
	if c.account == nil {
		return ended(ctx)
	}
	return c.account.Run(ctx)
}

// ended waits for the end of ctx and returns the cause.
func ended(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
