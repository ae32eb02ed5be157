package heartbeat

import "berth/internal/metrics"

// Metrics count datagrams and show the peers. A nil *Metrics shows nothing.
type Metrics struct {
	sent     *metrics.Counter
	received *metrics.Counter
	alive    *metrics.Gauge
	priority *metrics.Gauge
}

// NewMetrics declares the metrics in r; it returns nil for none.
func NewMetrics(r *metrics.Registry) *Metrics {
	if r == nil {
		return nil
	}
	return &Metrics{
		sent: r.Counter("berth_heartbeat_sent_total",
			"Heartbeats to peers, by result: ok or failed.", "result"),
		received: r.Counter("berth_heartbeat_received_total",
			"Datagrams that arrived, by result: accepted, or why the datagram was refused.", "result"),
		alive: r.Gauge("berth_heartbeat_peer_alive",
			"1 while the peer is heard about the address in time, else 0.", "instance", "peer"),
		priority: r.Gauge("berth_heartbeat_priority",
			"Priority that this host tells its peers; the lowest number wins."),
	}
}

// begin makes the series appear whose labels are known.
func (m *Metrics) begin() {
	if m == nil {
		return
	}
	for _, result := range []string{"ok", "failed"} {
		m.sent.Add(0, result)
	}
	for _, r := range refusals {
		m.received.Add(0, r.label)
	}
}

func (m *Metrics) peer(instance, peer string, alive bool) {
	if m == nil {
		return
	}
	value := 0.0
	if alive {
		value = 1
	}
	m.alive.Set(value, instance, peer)
}

func (m *Metrics) gone(instance, peer string) {
	if m != nil {
		m.alive.Delete(instance, peer)
	}
}

func (m *Metrics) count(sent, failed uint64, priority int) {
	if m == nil {
		return
	}
	m.sent.Add(float64(sent), "ok")
	m.sent.Add(float64(failed), "failed")
	m.priority.Set(float64(priority))
}

func (m *Metrics) count1(why reason, n uint64) {
	if m != nil && n > 0 {
		m.received.Add(float64(n), refusals[why].label)
	}
}
