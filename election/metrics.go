package election

import (
	"sync/atomic"

	"berth/internal/metrics"
)

// Metrics tell how this member fares with etcd. Nil counts nothing.
type Metrics struct {
	leased   *metrics.Gauge
	alone    *metrics.Gauge
	without  atomic.Int32 // parts that go on without etcd
	renewals *metrics.Counter
}

// NewMetrics declares the metrics in r.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		leased: r.Gauge("berth_etcd_lease_valid",
			"1 while etcd has acknowledged this member's lease in time, else 0."),
		alone: r.Gauge("berth_etcd_lease_ignored",
			"1 while this member goes on although etcd does not answer, as on-etcd-loss says, else 0."),
		renewals: r.Counter("berth_etcd_lease_renewals_total",
			"Attempts to renew the lease, by result: ok or failed.", "result"),
	}
}

// begin makes the series be there; a process without etcd has none.
func (m *Metrics) begin() {
	if m == nil {
		return
	}
	m.leased.Set(0)
	m.alone.Set(0)
	m.renewals.Add(0, "ok")
	m.renewals.Add(0, "failed")
}

func (m *Metrics) lease(valid bool) {
	if m != nil {
		m.leased.Set(number(valid))
	}
}

// degraded counts a part that begins, or ends, to go on without etcd.
func (m *Metrics) degraded(now bool) {
	switch {
	case m == nil:
	case now:
		m.alone.Set(number(m.without.Add(1) > 0))
	default:
		m.alone.Set(number(m.without.Add(-1) > 0))
	}
}

func (m *Metrics) renewal(ok bool) {
	if m == nil {
		return
	}
	result := "failed"
	if ok {
		result = "ok"
	}
	m.renewals.Add(1, result)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
