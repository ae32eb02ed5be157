package reconcile

import (
	"berth/internal/keepalived"
	"berth/internal/metrics"
)

// Metrics show whether events can arrive.
type Metrics struct {
	deaf *metrics.Gauge
}

// NewMetrics declares the metrics. A nil registry is allowed.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{deaf: r.Gauge("berth_fifo_deaf",
		"1 while keepalived runs without berth's FIFO open, 0 while it has it open.")}
}

// fifo takes whether keepalived has the FIFO open; where that is not known there is
// no value.
func (m *Metrics) fifo(s keepalived.FIFOState) {
	switch s {
	case keepalived.FIFONotOpen:
		m.deaf.Set(1)
	case keepalived.FIFOOpen:
		m.deaf.Set(0)
	default:
		m.deaf.Delete()
	}
}
