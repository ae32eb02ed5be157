package pool

import (
	"fmt"
	"slices"

	"berth/internal/status"
	"berth/refresher"
	"berth/vrrp"
)

// told is what the status has of the pool.
type told struct {
	state     status.State
	ownership status.Ownership
	addresses []status.Address
}

// tell puts what is known of the pool into status and metrics.
func (p *Pool) tell() {
	able, why := p.able.State()
	p.publish(able, why)
	held, trouble, reports := p.gather()
	mine := len(p.seen.mine(p.Name))
	p.Metrics.show(facts{addresses: len(p.seen.list), assigned: mine, held: held, unserved: p.seen.unserved(),
		members: len(p.seen.members), able: able, lost: p.seen.stands})
	reason := fmt.Sprintf("%d of %d addresses here; assigned to this member: %d; members: %d; without a member: %d",
		held, len(p.seen.list), mine, len(p.seen.members), p.seen.unserved())
	if p.seen.stands {
		reason += "; etcd has lost the list, and the last one stands"
	}
	var now told
	switch {
	case held > 0:
		now.state = status.State{State: vrrp.Master, Reason: reason}
		now.ownership.Owner = p.Name
		if trouble != "" {
			now.state.Reason += "; " + trouble
		}
	case !able:
		now.state, now.ownership.Withheld = status.State{State: vrrp.Fault, Reason: why}, why
	case trouble != "":
		now.state, now.ownership.Withheld = status.State{State: vrrp.Fault, Reason: trouble}, trouble
	default:
		now.state = status.State{State: vrrp.Backup, Reason: reason}
	}
	now.ownership.Lease = p.Lease
	now.addresses = p.Addresses(reports)
	p.show(now)
}

// show puts on the board what differs from what is there.
func (p *Pool) show(now told) {
	former := p.shown
	p.shown = now
	if now.state != former.state {
		p.Status.State(p.Instance, now.state)
	}
	if now.ownership != former.ownership {
		p.Status.Ownership(p.Instance, now.ownership)
	}
	// The board forgets the addresses when the pool is not MASTER any more.
	if now.state.State == vrrp.Master && (former.state.State != vrrp.Master || !slices.Equal(now.addresses, former.addresses)) {
		p.Status.Addresses(p.Instance, now.addresses)
	}
}

// gather returns how many addresses this member has, what is reported of them, and why
// one that is assigned to it is not served, or why it cannot serve one of the list, ""
// for neither.
func (p *Pool) gather() (held int, trouble string, reports []refresher.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.sorted() {
		switch c.status.State {
		case vrrp.Master:
			held++
			reports = append(reports, c.reports...)
		case vrrp.Fault:
			if p.seen.assigned[c.ip.Addr()] == p.Name && trouble == "" {
				trouble = c.ip.Addr().String() + ": " + c.status.Reason
			}
		}
	}
	for _, ip := range p.seen.list {
		if a := ip.Addr(); trouble == "" && p.refusal(a) != "" {
			trouble = a.String() + ": " + p.refusal(a)
		}
	}
	return held, trouble, reports
}
