package owner

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"berth/guard"
	"berth/internal/condition"
	"berth/internal/holding"
	"berth/internal/journal"
	"berth/internal/run"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Interface is the interface to which the addresses of an instance are bound. It is a
// *netif.Interface, and holds as a condition while addresses can be bound to it.
type Interface interface {
	condition.Condition
	// Bind binds the addresses and announces them, calls bound once all are there,
	// removes them when ctx ends, and returns ctx's cause; any other error says that
	// addresses may be left.
	Bind(ctx context.Context, addrs []netip.Prefix, bound func()) error
	// Sweep removes the addresses on the interface that no call of Bind has bound and that
	// are not wanted, and returns after they are gone.
	Sweep(wanted func(netip.Prefix) bool) error
	// Announce announces anew what is bound. It does not block.
	Announce()
}

// Options are an instance and what its owner needs.
type Options struct {
	Instance  string
	Addresses []vrrp.FloatingIP
	// Interface gets the addresses. It is nil where the floating IPs are pointed at this
	// host and the addresses bound by other means.
	Interface Interface
	// Able are conditions beside the interface, such as health checks: this host is a
	// candidate while all of them hold. Each may be shared by several instances.
	Able []condition.Condition
	// Loop makes the loop that points a floating IP here. check must return nil right
	// before each write. It is nil without a provider.
	Loop func(ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop
	// Report is told what is known of the addresses, after each change. It must not
	// block, and must not be nil.
	Report  func([]refresher.Report)
	Journal *journal.Journal // nil tells nothing
}

// Owner is what the owner of an instance does. Use it for one Run at a time.
type Owner struct {
	Options
	prefixes []netip.Prefix
	movable  []vrrp.FloatingIP
	fixed    []vrrp.FloatingIP // addresses that no provider moves
}

// New returns the owner of an instance. It starts nothing.
func New(o Options) *Owner {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	w := &Owner{Options: o}
	w.Journal = w.Journal.With(zap.String("instance", o.Instance))
	for _, ip := range o.Addresses {
		w.prefixes = append(w.prefixes, ip.Prefix)
		if o.Loop != nil && ip.Immovable() == "" {
			w.movable = append(w.movable, ip)
		} else {
			w.fixed = append(w.fixed, ip)
		}
	}
	return w
}

// Run has the addresses on this host until ctx ends, and returns why it has ended. No
// address is bound and no floating IP is being pointed when it returns, unless the cause
// leaves them to a successor. token is that of the permission, for the log; 0 for none.
func (o *Owner) Run(ctx context.Context, token int64, g Grant) error {
	j := o.Journal
	if token != 0 {
		j = j.With(zap.Int64("token", token))
	}
	bound := make(chan struct{})
	var parts []run.Task
	if o.Interface == nil {
		close(bound)
	} else {
		parts = append(parts, run.Task{Name: "addresses", Run: func(ctx context.Context) error { return o.bind(ctx, g, bound, j) }})
	}
	if o.Loop != nil {
		parts = append(parts, run.Task{Name: "floating IPs", Run: func(ctx context.Context) error { return o.point(ctx, g, bound, j) }})
	}
	return run.All(ctx, parts...)
}

// bind binds the addresses until ctx ends and closes bound when they are there. It
// returns after they are gone.
func (o *Owner) bind(ctx context.Context, g Grant, bound chan<- struct{}, j *journal.Journal) error {
	err := o.Interface.Bind(ctx, o.prefixes, func() {
		j.Tell(addressesBound, zap.Stringers("addresses", o.prefixes))
		if o.Loop == nil {
			o.Report(o.boundReports())
		}
		close(bound)
	})
	if err != context.Cause(ctx) { // addresses may be left
		o.untilGone(g.End(), j)
	}
	return err
}

// point points the floating IPs here once their addresses are bound, until ctx ends: a
// packet that the provider sends here must find its address.
func (o *Owner) point(ctx context.Context, g Grant, bound <-chan struct{}, j *journal.Journal) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-bound:
	}
	permit := guard.NewPermit(ctx, func(context.Context) error { return g.Check() })
	fixed := o.boundReports() // no loop reports these
	loops := holding.Loops{
		New: func(_ string, ip vrrp.FloatingIP, check func(context.Context) error) *refresher.Loop {
			return o.Options.Loop(ip, check, j)
		},
		Report: func(_ string, r []refresher.Report) { o.Report(append(r, fixed...)) },
	}
	return loops.Run(ctx, o.Instance, permit.Check, func() []vrrp.FloatingIP { return o.movable }, nil, nil)
}

// boundReports are the reports of the addresses that are bound and moved by no provider.
func (o *Owner) boundReports() []refresher.Report {
	var reports []refresher.Report
	for _, ip := range o.fixed {
		reports = append(reports, refresher.Report{Address: ip.String(), Owner: refresher.Here, Since: time.Now()})
	}
	return reports
}

// sweepInterval is the pause between attempts to remove addresses.
const sweepInterval = 100 * time.Millisecond

// untilGone returns when addresses that Bind could not remove are gone, or at the end of
// the permission, by which the kernel has taken them away because their lifetime is not
// renewed. Before that the permission must not be given up.
func (o *Owner) untilGone(end time.Time, j *journal.Journal) {
	removing := j.Condition()
	// By address: the prefix length that is managed may be another one by now.
	others := func(p netip.Prefix) bool {
		return !slices.ContainsFunc(o.prefixes, func(own netip.Prefix) bool { return own.Addr() == p.Addr() })
	}
	for time.Now().Before(end) {
		err := o.Interface.Sweep(others)
		if err == nil {
			break
		}
		removing.Fail(addressesStuck, err, zap.Duration("left", time.Until(end)))
		time.Sleep(min(sweepInterval, time.Until(end)))
	}
	removing.Clear()
}
