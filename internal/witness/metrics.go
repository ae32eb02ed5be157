package witness

import "berth/internal/metrics"

// Metrics show whether the witness is reached. A nil *Metrics shows nothing.
type Metrics struct{ reached *metrics.Gauge }

// NewMetrics declares the metrics in r; it returns nil for none.
func NewMetrics(r *metrics.Registry) *Metrics {
	if r == nil {
		return nil
	}
	return &Metrics{reached: r.Gauge("berth_witness_up",
		"1 while this host reaches the witness by TCP, 0 after some tries in a row have failed.")}
}

func (m *Metrics) up(reached bool) {
	switch {
	case m == nil:
	case reached:
		m.reached.Set(1)
	default:
		m.reached.Set(0)
	}
}
