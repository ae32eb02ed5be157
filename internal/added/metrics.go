package added

import (
	"berth/internal/metrics"
	"berth/ips"
)

// Metrics count the events of the added addresses and show their states. A nil *Metrics
// shows nothing. No label is an address: a member has up to a thousand of them.
type Metrics struct {
	events *metrics.Counter
	states *metrics.Gauge
}

// NewMetrics declares the metrics in r; it returns nil for none.
func NewMetrics(r *metrics.Registry) *Metrics {
	if r == nil {
		return nil
	}
	return &Metrics{
		events: r.Counter("berth_ip_events_total",
			"Events of the addresses that are added to this member, by LinK's word: fault, elected, demoted, health_check_fail or health_check_success.", "event"),
		states: r.Gauge("berth_ip_addresses",
			"Addresses that are added to this member, by LinK's word for their status: BOOTING, ACTIVATED, STANDBY or FAILING.", "status"),
	}
}

// begin makes all series appear.
func (m *Metrics) begin() {
	if m == nil {
		return
	}
	for _, e := range ips.Events {
		m.events.Add(0, string(e))
	}
	m.show(nil)
}

func (m *Metrics) happened(e ips.Event) {
	if m != nil {
		m.events.Add(1, string(e))
	}
}

// show shows how many addresses are in each state.
func (m *Metrics) show(states map[ips.State]int) {
	if m == nil {
		return
	}
	for _, s := range ips.States {
		m.states.Set(float64(states[s]), string(s))
	}
}
