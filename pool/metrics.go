package pool

import "berth/internal/metrics"

// Metrics tell what this member knows of the pool. Nil counts nothing.
type Metrics struct {
	addresses, assigned, held, members, unserved, able, lost *metrics.Gauge
}

// NewMetrics declares the metrics in r.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		addresses: r.Gauge("berth_pool_addresses", "Addresses in the list of the pool."),
		assigned:  r.Gauge("berth_pool_addresses_assigned", "Addresses of the pool that are assigned to this member."),
		held:      r.Gauge("berth_pool_addresses_held", "Addresses of the pool that this member has."),
		unserved:  r.Gauge("berth_pool_addresses_unserved", "Addresses of the pool that no member has, as etcd tells."),
		members:   r.Gauge("berth_pool_members", "Members to which addresses of the pool can be assigned."),
		able:      r.Gauge("berth_pool_member_able", "1 while this member can serve addresses of the pool, else 0."),
		lost:      r.Gauge("berth_pool_list_lost", "1 while etcd has lost the list of the pool and the last list stands, else 0."),
	}
}

// facts is what the metrics show.
type facts struct {
	addresses, assigned, held, unserved, members int
	able, lost                                   bool
}

func (m *Metrics) show(f facts) {
	if m == nil {
		return
	}
	for g, v := range map[*metrics.Gauge]int{m.addresses: f.addresses, m.assigned: f.assigned, m.held: f.held,
		m.unserved: f.unserved, m.members: f.members, m.able: number(f.able), m.lost: number(f.lost)} {
		g.Set(float64(v))
	}
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
