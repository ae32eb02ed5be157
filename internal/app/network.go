package app

import (
	"cmp"
	"net/netip"
	"time"

	"berth/config"
	"berth/internal/journal"
	"berth/internal/rundir"
	"berth/internal/status"
	"berth/netif"
)

// openNetwork opens the interfaces of the election; there are none where the instances
// have floating IPs alone. end is that of the decider; elsewhere reports whether it says
// that another host owns an address of an instance.
func openNetwork(cfg *config.Config, end func() time.Time, elsewhere func(instance string, p netip.Prefix) bool, board *status.Board, m *netif.Metrics, j *journal.Journal) (*netif.Host, error) {
	instances := map[netip.Prefix]string{} // the other addresses are of the pool, or have an instance of their own
	instance := func(p netip.Prefix) string {
		if cfg.Pool.Enabled {
			return cmp.Or(instances[p], config.PoolInstance)
		}
		return cmp.Or(instances[p], p.Addr().String())
	}
	for _, in := range cfg.Election.Instances {
		for _, ip := range in.Addresses {
			instances[ip.Prefix] = in.Name
		}
	}
	a := cfg.Election.Announce
	return netif.OpenHost(netif.Options{
		Announce:  netif.Announce{Count: a.Count, Interval: a.Interval, Refresh: a.Refresh},
		End:       end,
		Elsewhere: func(p netip.Prefix) bool { return elsewhere(instance(p), p) },
		Contested: func(p netip.Prefix, on bool) { board.Contested(instance(p), p.String(), on) },
		Astray:    func(p netip.Prefix, on string) { board.Astray(instance(p), p.String(), on) },
		Record:    boundRecord(cfg),
		Journal:   j,
		Metrics:   m,
	}, cfg.OnInterfaces())
}

// boundRecord returns the file of the addresses that this process binds.
func boundRecord(cfg *config.Config) string {
	d := rundir.Dir(cfg.RunDirectory)
	if cfg.Follow.Decides() {
		return d.FollowerBound(config.EscapeName(cfg.Follow.Patroni.URL))
	}
	return d.Bound(config.EscapeName(cfg.Etcd.Prefix + cfg.Etcd.MemberName()))
}
