package app

import (
	"net/netip"

	"berth/config"
	"berth/election"
	"berth/internal/journal"
	"berth/internal/rundir"
	"berth/internal/status"
	"berth/netif"
)

// openNetwork opens the interfaces of the election; there are none where the instances
// have floating IPs alone.
func openNetwork(cfg *config.Config, member *election.Member, board *status.Board, m *netif.Metrics, j *journal.Journal) (*netif.Host, error) {
	instances := map[netip.Prefix]string{}
	for _, in := range cfg.Election.Instances {
		for _, ip := range in.Addresses {
			instances[ip.Prefix] = in.Name
		}
	}
	a := cfg.Election.Announce
	return netif.OpenHost(netif.Options{
		Announce: netif.Announce{Count: a.Count, Interval: a.Interval, Refresh: a.Refresh},
		End:      member.End,
		Elsewhere: func(p netip.Prefix) bool {
			_, other, known := member.Owner(instances[p])
			return known && other
		},
		Contested: func(p netip.Prefix, on bool) { board.Contested(instances[p], p.String(), on) },
		Astray:    func(p netip.Prefix, on string) { board.Astray(instances[p], p.String(), on) },
		Record:    rundir.Dir(cfg.RunDirectory).Bound(config.EscapeName(cfg.Etcd.Prefix + cfg.Etcd.MemberName())),
		Journal:   j,
		Metrics:   m,
	}, cfg.OnInterfaces())
}
