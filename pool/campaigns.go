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

// campaign is one for an address, for as long as the address is assigned to this member
// or this process still has its key.
type campaign struct {
	ip       vrrp.FloatingIP
	wish     *wish
	end      context.CancelCauseFunc
	unwanted time.Time // since when it has no reason to go on, zero while it has

	// The lock of the pool guards these.
	status  election.Status
	reports []refresher.Report
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

// errNotOurs ends a campaign whose address another member has, or that is in the list no
// more.
var errNotOurs = errors.New("the address is not assigned to this member")

// steer begins and ends campaigns according to the situation.
func (p *Pool) steer(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := map[netip.Addr]vrrp.FloatingIP{}
	for _, ip := range p.seen.list {
		a := ip.Addr()
		if p.Taken[a] != "" {
			continue
		}
		listed[a] = ip
		if p.campaigns[a] == nil && (p.Alone || p.seen.own[a] || p.seen.assigned[a] == p.Name) {
			p.start(ctx, ip)
		}
	}
	for a := range p.seen.own { // put by the process before this one, or by a request that came through late
		if p.campaigns[a] == nil && listed[a] == (vrrp.FloatingIP{}) {
			p.start(ctx, single(a))
		}
	}
	now := time.Now()
	for a, c := range p.campaigns {
		ip, ok := listed[a]
		ok = ok && ip == c.ip
		c.wish.claims.Store(p.Alone && ok)
		assigned := p.seen.assigned[a]
		switch refused := p.refused[a]; {
		case ok && refused != "":
			c.wish.claims.Store(false)
			c.wish.Set(false, refused)
		case ok && assigned == p.Name:
			c.wish.Set(true, "")
		case ok && assigned != "":
			c.wish.Set(false, "the address is assigned to "+assigned)
		case ok:
			c.wish.Set(false, "the address is assigned to no member")
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
		// The next campaign for the address finds a key that is put late.
		replaced := !ok && ip != (vrrp.FloatingIP{})
		if !c.unwanted.IsZero() && (replaced || now.Sub(c.unwanted) >= linger) {
			c.end(errNotOurs)
		}
	}
}

func single(a netip.Addr) vrrp.FloatingIP {
	return vrrp.FloatingIP{Prefix: netip.PrefixFrom(a, a.BitLen())}
}

// start begins a campaign. It is called with the lock held.
func (p *Pool) start(ctx context.Context, ip vrrp.FloatingIP) {
	if ctx.Err() != nil {
		return
	}
	ctx, end := context.WithCancelCause(ctx)
	a := ip.Addr()
	c := &campaign{ip: ip, wish: &wish{acknowledged: p.Member.Acknowledged}, end: end}
	c.wish.Set(false, waiting)
	p.campaigns[a] = c
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
		_ = p.Decider.Campaign(ctx, e, o.Run)
		p.change(func() { delete(p.campaigns, a) })
	})
}

// change changes what belongs to the lock, and has it looked at.
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
	at := p.retry
	for _, c := range p.campaigns {
		if due := c.unwanted.Add(linger); !c.unwanted.IsZero() && (at.IsZero() || due.Before(at)) {
			at = due
		}
	}
	return at
}

// running returns the campaigns in the order of their addresses. It is called with the
// lock held.
func (p *Pool) sorted() []*campaign {
	var all []*campaign
	for _, c := range p.campaigns {
		all = append(all, c)
	}
	slices.SortFunc(all, func(x, y *campaign) int { return x.ip.Addr().Compare(y.ip.Addr()) })
	return all
}
