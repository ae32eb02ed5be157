package patroni

import "berth/internal/metrics"

// Metrics tell what Patroni says. Nil counts nothing.
type Metrics struct {
	role     *metrics.Gauge
	requests *metrics.Counter
}

// NewMetrics declares the metrics in r.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		role: r.Gauge("berth_patroni_role",
			"1 while Patroni says that this host has the role that berth follows, else 0.", "role"),
		requests: r.Counter("berth_patroni_requests_total",
			"Requests to Patroni, by answer: yes, no or none.", "role", "answer"),
	}
}

// begin makes the series be there; a process that does not follow Patroni has none.
func (m *Metrics) begin(r Role) {
	if m == nil {
		return
	}
	m.role.Set(0, string(r))
	for _, answer := range []string{"yes", "no", "none"} {
		m.requests.Add(0, string(r), answer)
	}
}

func (m *Metrics) has(r Role, has bool) {
	if m == nil {
		return
	}
	value := 0.0
	if has {
		value = 1
	}
	m.role.Set(value, string(r))
}

func (m *Metrics) answered(r Role, answer string) {
	if m != nil {
		m.requests.Add(1, string(r), answer)
	}
}
