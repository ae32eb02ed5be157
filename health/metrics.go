package health

import (
	"time"

	"berth/internal/metrics"
)

// Metrics show the states of the checks and count their runs. A nil *Metrics shows
// nothing.
type Metrics struct {
	healthy  *metrics.Gauge
	runs     *metrics.Counter
	duration *metrics.Histogram
}

// NewMetrics declares the metrics in r; it returns nil for none.
func NewMetrics(r *metrics.Registry) *Metrics {
	if r == nil {
		return nil
	}
	return &Metrics{
		healthy: r.Gauge("berth_health_up",
			"1 while the health check is good by rise and fall, 0 while it is not, or not yet.", "check"),
		runs: r.Counter("berth_health_runs_total",
			"Runs of the health check, by result: ok or failed.", "check", "result"),
		duration: r.Histogram("berth_health_run_duration_seconds",
			"Time that a run of the health check took.", []float64{.001, .005, .02, .1, .25, .5, 1, 2, 5}, "check"),
	}
}

// The results of a run.
const (
	ok     = "ok"
	failed = "failed"
)

// begin makes all series of a check appear.
func (m *Metrics) begin(check string) {
	if m == nil {
		return
	}
	m.runs.Add(0, check, ok)
	m.runs.Add(0, check, failed)
}

// end makes the state of a check disappear. If the next generation of a configuration has
// the check too, its next run shows the state again.
func (m *Metrics) end(check string) {
	if m != nil {
		m.healthy.Delete(check)
	}
}

func (m *Metrics) up(check string, healthy bool) {
	switch {
	case m == nil:
	case healthy:
		m.healthy.Set(1, check)
	default:
		m.healthy.Set(0, check)
	}
}

func (m *Metrics) ran(check string, good bool, took time.Duration) {
	if m == nil {
		return
	}
	result := ok
	if !good {
		result = failed
	}
	m.runs.Add(1, check, result)
	m.duration.Observe(took.Seconds(), check)
}
