package owner

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/run"
	"berth/internal/status"
	"berth/vrrp"

	"go.uber.org/zap"
)

// Network is all interfaces of the instances. It is a *netif.Host.
type Network interface {
	// Serve watches the interfaces while f runs, and returns what f returned.
	Serve(ctx context.Context, f func(context.Context) error) error
	// Sweep removes what an earlier run left and is not wanted.
	Sweep(wanted func(netip.Prefix) bool) error
	// Left reports whether an address that an earlier run bound is still there.
	Left() bool
}

// Set is addresses that come and go while this host takes part. It is a *pool.Pool or an
// *added.Set: a host has one of them, because an interface has one list of such addresses.
type Set interface {
	// Waiting tells that the decider has not begun yet, for people.
	Waiting(reason string)
	// Prepare makes the interface ready for the addresses, and reports which of them
	// this process is known to own: they are not swept. It is called once, after the
	// decider has begun and before the sweep and Run.
	Prepare() (owns func(netip.Prefix) bool)
	// Run takes part for the addresses until ctx ends, and returns the cause after the
	// last of them is given up.
	Run(ctx context.Context) error
}

// Status is where the states of the instances are told. It is a *status.Board.
type Status interface {
	State(instance string, s status.State)
	Ownership(instance string, o status.Ownership)
}

// Host is this host as a candidate for its instances and for a set of addresses that changes.
type Host struct {
	Owners  []*Owner
	Set     Set // nil for none
	Decider Decider
	Awaits  string // the system whose word the decider waits for at first, such as "etcd", for people
	Network Network
	Status  Status
	// Alone lets this host be the owner without the decider, see election.Campaign.
	Alone bool
	// Adopts says that the process before this one may have left what this one goes on
	// with. The addresses that it left bound stay until the decider tells whether they do.
	Adopts bool
	// Adopted, which may be nil, is called before the campaigns begin if this process goes
	// on with what the process before it left: what that one knew a moment ago counts. A
	// lease shows that it ended a moment ago. Without one, an address that it left bound
	// must show that, by its short lifetime, because the decider also goes on with what a
	// process left that ended long ago.
	Adopted func()
	Lease   string           // the file with the lease, for people; "" for none
	Journal *journal.Journal // nil tells nothing
}

// Run is a candidate for all instances until ctx ends, and returns after everything here
// has ended, with the cause. The decider must run.
func (h *Host) Run(ctx context.Context) error {
	if h.Journal == nil {
		h.Journal = journal.New(nil)
	}
	return h.Network.Serve(ctx, h.takePart)
}

// takePart removes what an earlier run left, but for what this host still owns, and then
// takes part for all instances.
func (h *Host) takePart(ctx context.Context) error {
	if !h.Adopts {
		h.sweep(func(netip.Prefix) bool { return false })
	}
	for _, o := range h.Owners {
		h.tell(election.Status{Instance: o.Instance, State: vrrp.Fault, Reason: "waiting for " + h.Awaits})
	}
	if h.Set != nil {
		h.Set.Waiting("waiting for " + h.Awaits)
	}
	adopted, err := h.Decider.Begun(ctx)
	if err != nil {
		// It ends before etcd has said whether what was left goes on, and leaves nothing, but to
		// a successor.
		if h.Adopts && !errors.Is(context.Cause(ctx), election.ErrLeave) {
			h.sweep(func(netip.Prefix) bool { return false })
		}
		return err
	}
	if adopted && h.Adopted != nil && (h.Lease != "" || h.Network.Left()) {
		h.Adopted()
	}
	owns := h.owns
	if h.Set != nil {
		ofSet := h.Set.Prepare()
		owns = func(p netip.Prefix) bool { return h.owns(p) || ofSet(p) }
	}
	if h.Adopts {
		h.sweep(func(p netip.Prefix) bool { return adopted && owns(p) })
	}
	var campaigns []run.Task
	if h.Set != nil {
		campaigns = append(campaigns, run.Task{Name: "addresses", Run: h.Set.Run})
	}
	for _, o := range h.Owners {
		campaigns = append(campaigns, run.Task{Name: o.Instance, Run: func(ctx context.Context) error { return h.campaign(ctx, o) }})
	}
	return run.All(ctx, campaigns...)
}

func (h *Host) sweep(wanted func(netip.Prefix) bool) {
	if err := h.Network.Sweep(wanted); err != nil {
		h.Journal.Tell(leftoversStuck, zap.Error(err))
	}
}

// owns reports whether this host is known to own the instance of an address.
func (h *Host) owns(p netip.Prefix) bool {
	for _, o := range h.Owners {
		for _, prefix := range o.prefixes {
			if prefix == p {
				_, other, known := h.Decider.Owner(o.Instance)
				return known && !other
			}
		}
	}
	return false
}

func (h *Host) campaign(ctx context.Context, o *Owner) error {
	c := election.Campaign{Instance: o.Instance, Alone: h.Alone, Changed: h.tell, Journal: o.Journal}
	for _, ip := range o.Addresses {
		c.Addresses = append(c.Addresses, ip.String())
	}
	able := slices.Clone(o.Able)
	if o.Interface != nil {
		able = append(able, o.Interface)
		c.Joined = o.Interface.Announce
	}
	c.Able = condition.All(able...)
	return h.Decider.Campaign(ctx, c, o.Run)
}

// tell puts what a campaign knows into the status.
func (h *Host) tell(s election.Status) { Tell(h.Status, s, h.Lease) }

// Tell puts what a campaign knows on a board. lease is the file with the lease, for people.
func Tell(board Status, s election.Status, lease string) {
	board.State(s.Instance, status.State{State: s.State, Reason: s.Reason})
	o := status.Ownership{Owner: s.Owner, Token: s.Token, Lease: lease}
	if s.State == vrrp.Fault {
		o.Withheld = s.Reason
	}
	board.Ownership(s.Instance, o)
}
