package holding

import (
	"context"

	"berth/refresher"
	"berth/vrrp"
)

// Loops are the loops of an instance, one for each address. A Holding runs them for an
// instance that keepalived made MASTER; package internal/owner runs the same ones for an
// instance that an election gave to this host.
type Loops struct {
	// New returns the loop of an address. check must return nil right before each write;
	// the loop's Verify and Report are filled in.
	New func(instance string, ip vrrp.FloatingIP, check func(ctx context.Context) error) *refresher.Loop
	// Report is told what the loops of an instance know after each attempt and each
	// change of the addresses. Calls for one instance do not overlap. It must not block.
	Report func(instance string, reports []refresher.Report)
}

// Run keeps the addresses of an instance pointed here until ctx ends, and returns the
// cause after the last loop has ended. It asks for the addresses at once and whenever it
// receives from changed; loops of addresses that stay are left alone. Each value from
// verify has all loops observe the owner. Both channels may be nil.
func (l *Loops) Run(ctx context.Context, instance string, check func(context.Context) error,
	addresses func() []vrrp.FloatingIP, changed, verify <-chan struct{}) error {
	set := &refresher.Set{
		Loop:    func(ip vrrp.FloatingIP) *refresher.Loop { return l.New(instance, ip, check) },
		Changed: func(r []refresher.Report) { l.Report(instance, r) },
	}
	defer set.Wait()
	set.Want(ctx, addresses())
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-verify:
			set.VerifyNow()
		case <-changed:
			set.Want(ctx, addresses())
		}
	}
}
