package app

import (
	"context"
	"net/netip"

	"berth/config"
	"berth/election"
	"berth/internal/added"
	"berth/internal/journal"
	"berth/internal/rundir"
	"berth/ips"
	"berth/refresher"
	"berth/vrrp"
)

// newAdded builds what serves the addresses that are added to this member at run time.
func (e *electMode) newAdded() *added.Set {
	o := added.Options{Name: e.member.Name, Prefix: e.member.Prefix, Member: e.member, Etcd: e.member.Etcd, Decider: e.host.Decider,
		Interface: e.network.Interface(e.cfg.Election.Interface), Able: append(e.health.Conditions(e.cfg.HealthOfAdded()), e.able...),
		Alone: e.host.Alone, Taken: e.cfg.Taken(), Addresses: addresses, Takeover: asking(e.member, election.Takeover), Release: asking(e.member, election.Release),
		Timeout: e.cfg.LockTimeout, Status: e.board, Lease: e.place.Path(),
		Record:  rundir.Dir(e.cfg.RunDirectory).Added(config.EscapeName(e.cfg.Etcd.Prefix + e.member.Name)),
		Metrics: e.meters.added, Journal: e.journal}
	for _, name := range e.cfg.Election.Names() { // one election cannot have two campaigns of a member
		if a, err := netip.ParseAddr(name); err == nil {
			o.Taken[a] = "election.instances: " + name
		}
	}
	if e.cloud != nil {
		o.Loop = func(instance string, ip vrrp.FloatingIP, check func(context.Context) error, j *journal.Journal) *refresher.Loop {
			return e.cloud.Loop(instance, ip, check, j)
		}
	}
	return added.New(o)
}

// added returns the addresses that are added to this member at run time, nil where it
// serves none.
func (e *electMode) added() ips.Service {
	if e.set == nil {
		return nil
	}
	return e.set
}
