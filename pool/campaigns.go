package pool

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"berth/election"
	"berth/internal/condition"
	"berth/internal/owner"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// campaign is the campaign for an address. It goes on while the address is assigned to
// this member, or this process has its key, and for linger after that.
type campaign struct {
	ip       vrrp.FloatingIP
	wish     *wish
	end      context.CancelCauseFunc
	unwanted time.Time // since when it has no reason to go on, zero while it has

	// The lock of the pool guards these.
	status  election.Status
	reports []refresher.Report
	others  map[string]bool // reasons that said to whom the address was assigned instead
}

// leave ends the wish: the address is not assigned to this member. It is called with the
// lock held.
func (c *campaign) leave(why string) {
	c.others[why] = true
	c.wish.Set(false, why)
}

// faulty reports whether the campaign says that this member cannot have the address. The
// status that it has while the address is assigned to another member lasts until it has
// seen that the address is assigned to this one. It is called with the lock held.
func (c *campaign) faulty() bool {
	return c.status.State == vrrp.Fault && !c.others[c.status.Reason]
}

// wish is the condition that this member is to have an address: the address is assigned
// to it, or no member may be serving the address because etcd is lost, and this one acts
// alone.
type wish struct {
	condition.Value
	claims       atomic.Bool // the address is listed, and this host claims it without etcd
	acknowledged func() bool // etcd acknowledges the lease
}

// State is that of condition.Condition. Whether etcd is lost is asked at each call: a
// campaign that has a lease must not take what is assigned to another member.
func (w *wish) State() (holds bool, reason string) {
	holds, reason = w.Value.State()
	if !holds && w.claims.Load() && !w.acknowledged() {
		return true, ""
	}
	return holds, reason
}

// linger is how long a campaign without a reason goes on after its key is gone: a request
// to put the key can still come through, and its answer must not be missed.
const linger = 5 * time.Second

// errNotOurs ends a campaign whose address is assigned to another member, or is not in the
// list any more.
var errNotOurs = errors.New("the address is not assigned to this member")

// steer begins and ends campaigns according to the situation.
func (p *Pool) steer(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	listed, fresh := map[netip.Addr]vrrp.FloatingIP{}, []*campaign(nil)
	for _, ip := range p.seen.list {
		a := ip.Addr()
		if p.Taken[a] != "" {
			continue
		}
		listed[a] = ip
		if p.campaigns[a] == nil && (p.Alone || p.seen.own[a] || p.seen.assigned[a] == p.Name) {
			fresh = append(fresh, p.prepare(ip))
		}
	}
	for a := range p.seen.own { // put by the process before this one, or by a request that came through late
		if p.campaigns[a] == nil && listed[a] == (vrrp.FloatingIP{}) {
			fresh = append(fresh, p.prepare(single(a)))
		}
	}
	now := time.Now()
	for a, c := range p.campaigns {
		ip, ok := listed[a]
		ok = ok && ip == c.ip
		c.wish.claims.Store(p.Alone && ok)
		assigned := p.seen.assigned[a]
		switch refused := p.refusal(a); {
		case ok && refused != "":
			c.wish.claims.Store(false)
			c.wish.Set(false, refused)
		case ok && assigned == p.Name:
			c.wish.Set(true, "")
		case ok && assigned != "":
			c.leave("the address is assigned to " + assigned)
		case ok:
			c.leave("the address is assigned to no member")
		case ip != (vrrp.FloatingIP{}):
			c.wish.Set(false, "the address gets another prefix length")
		default:
			c.wish.Set(false, "the address was removed from the pool")
		}
		switch {
		case ok && (assigned == p.Name || p.Alone), p.seen.own[a]:
			c.unwanted = time.Time{}
		case c.unwanted.IsZero():
			c.unwanted = now
		}
		// A key that is put late is found by the next campaign for the address.
		replaced := !ok && ip != (vrrp.FloatingIP{})
		if !c.unwanted.IsZero() && (replaced || now.Sub(c.unwanted) >= linger) {
			c.end(errNotOurs)
		}
	}
	for _, c := range fresh {
		p.start(ctx, c)
	}
}

// single returns an address without the others of its network.
func single(a netip.Addr) vrrp.FloatingIP {
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(a, a.BitLen())}
}

// prepare makes a campaign, which start is to begin after it has its wish: without one it
// would give up the key of an address that the process before this one has. It is called
// with the lock held.
func (p *Pool) prepare(ip vrrp.FloatingIP) *campaign {
	c := &campaign{ip: ip, wish: &wish{acknowledged: p.Member.Acknowledged}, end: func(error) {}, others: map[string]bool{}}
	p.campaigns[ip.Addr()] = c
	return c
}

// start begins a campaign. It is called with the lock held.
func (p *Pool) start(ctx context.Context, c *campaign) {
	ip, a := c.ip, c.ip.Addr()
	if ctx.Err() != nil {
		delete(p.campaigns, a)
		return
	}
	ctx, end := context.WithCancelCause(ctx)
	c.end = end
	options := owner.Options{Instance: p.Instance, Addresses: []vrrp.FloatingIP{ip}, Loop: p.Loop, Journal: p.plain,
		Report: func(r []refresher.Report) { p.change(func() { c.reports = r }) }}
	e := election.Campaign{Pool: true, Instance: a.String(), Addresses: []string{ip.String()},
		Able: condition.All(p.able, c.wish), Alone: p.Alone, Journal: p.Journal.With(zap.Stringer("address", a)),
		Changed: func(s election.Status) { p.change(func() { c.status = s }) }}
	if p.Interface != nil {
		options.Interface, e.Joined = p.Interface, p.Interface.Announce
	}
	o := owner.New(options)
	p.running.Go(func() {
		defer end(nil)
		// It returns the cause of its end, which this package knows.
		_ = p.Decider.Campaign(ctx, e, func(ctx context.Context, token int64, g owner.Grant) error {
			err := o.Run(ctx, token, g)
			if ctx.Err() == nil && err != nil {
				p.fail(a, err)
			}
			return err
		})
		p.change(func() { delete(p.campaigns, a) })
	})
}

// fail notes that this member could not serve an address that it has. After the second
// time in a row the others are to have the address for a while.
func (p *Pool) fail(a netip.Addr, err error) {
	p.change(func() {
		now := time.Now()
		f := failure{reason: err.Error(), at: now}
		if former, again := p.failed[a]; again && now.Sub(former.at) < owner.ManageAgain {
			f.until = now.Add(owner.ManageAgain)
		}
		p.failed[a], p.failedAnew = f, true
	})
}

// change changes with the lock held what the lock guards, and wakes assign up.
func (p *Pool) change(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.wakeUp()
}

// next returns when something is due although nothing changes, the zero time for never.
func (p *Pool) next() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.managed.Retry()
	by := func(due time.Time) {
		if at.IsZero() || due.Before(at) {
			at = due
		}
	}
	for _, c := range p.campaigns {
		if !c.unwanted.IsZero() {
			by(c.unwanted.Add(linger))
		}
	}
	for _, f := range p.failed {
		by(f.over())
	}
	return at
}

// sorted returns the campaigns in the order of their addresses. It is called with the
// lock held.
func (p *Pool) sorted() []*campaign {
	var all []*campaign
	for _, c := range p.campaigns {
		all = append(all, c)
	}
	slices.SortFunc(all, func(x, y *campaign) int { return x.ip.Addr().Compare(y.ip.Addr()) })
	return all
}
