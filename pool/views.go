package pool

import (
	"context"
	"net/netip"
	"time"

	"berth/ips"
	"berth/vrrp"
)

// view is what this member tells of an address of the list.
type view struct {
	ip     vrrp.FloatingIP
	state  ips.State
	since  time.Time // of the state
	owner  string    // "" if that is not known
	reason string
	last   *ips.Happened // nil before the first event
}

// views is what this member tells of all addresses of the list, for other goroutines than
// the one that carries the assignment out. The lock of the pool guards it.
type views struct {
	began  bool // the keys were known once
	stands bool // the list is the last one, and etcd has none
	list   []vrrp.FloatingIP
	views  map[netip.Addr]view
	own    map[netip.Addr]bool // addresses whose key is that of this process
	next   chan struct{}       // closed when something changes
}

// publish brings the views up to date.
func (p *Pool) publish(able bool, why string) {
	acknowledged := p.Member.Acknowledged()
	p.mu.Lock()
	defer p.mu.Unlock()
	v, now := &p.views, time.Now().UTC()
	v.began = v.began || p.seen.known
	v.stands, v.list, v.own = p.seen.stands, p.seen.list, p.seen.own
	all := make(map[netip.Addr]view, len(v.list))
	for _, ip := range v.list {
		a := ip.Addr()
		former, told := v.views[a]
		if !told {
			former = view{state: ips.Booting, since: now}
		}
		next := p.view(ip, able, why)
		next.since, next.last = former.since, former.last
		if next.state != former.state {
			next.since = now
			next.last = &ips.Happened{Event: event(former.state, next.state, acknowledged), At: now, Reason: next.reason}
		}
		all[a] = next
	}
	v.views = all
	close(v.next)
	v.next = make(chan struct{})
}

// view returns what is known of an address, but for what follows from the time before. It
// is called with the lock held.
func (p *Pool) view(ip vrrp.FloatingIP, able bool, why string) view {
	a := ip.Addr()
	v := view{ip: ip, owner: p.seen.holder[a], state: ips.Standby}
	assigned, c := p.seen.assigned[a], p.campaigns[a]
	switch {
	case c != nil && c.status.State == vrrp.Master:
		v.state, v.owner, v.reason = ips.Activated, p.Name, c.status.Reason
	case !p.views.began:
		v.state, v.owner, v.reason = ips.Booting, "", waiting
	case !able:
		v.state, v.reason = ips.Failing, why
	case p.Taken[a] != "":
		v.state, v.reason = ips.Failing, "it stands in "+p.Taken[a]
	case p.refusal(a) != "":
		v.state, v.reason = ips.Failing, p.refusal(a)
	case assigned == p.Name && c != nil && c.faulty():
		v.state, v.reason = ips.Failing, c.status.Reason
	case !p.seen.known:
		v.reason = "the keys in etcd are not known now"
	case assigned == "":
		v.reason = "no member can have it"
	case v.owner == assigned:
		v.reason = "the address is assigned to " + assigned
	case v.owner == "":
		v.reason = "waiting for " + assigned
	default:
		v.reason = "waiting until " + v.owner + " gives it to " + assigned
	}
	return v
}

// event returns the event of LinK's machine by which an address has come from one state
// to another. Without etcd's acknowledgement the member that has it now has claimed it.
func event(from, to ips.State, acknowledged bool) ips.Event {
	switch {
	case to == ips.Failing:
		return ips.CheckFail
	case to == ips.Activated && !acknowledged:
		return ips.Fault
	case to == ips.Activated:
		return ips.Elected
	case from == ips.Failing:
		return ips.CheckSuccess
	}
	return ips.Demoted
}

// await waits until a condition of the views and the campaigns holds, which is asked with
// the lock held.
func (p *Pool) await(ctx context.Context, holds func() bool) error {
	for {
		p.mu.Lock()
		done, next := holds(), p.views.next
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-next:
		}
	}
}
