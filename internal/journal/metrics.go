package journal

import "berth/internal/metrics"

// Metrics count events and the conditions that hold. A nil *Metrics counts nothing.
type Metrics struct {
	events  *metrics.Counter
	holding *metrics.Gauge

	open  map[string]string // ID of a condition that holds to its code
	count map[string]int    // of the conditions that hold, by code
}

// NewMetrics declares the metrics in r; it returns nil for none. All kinds are there
// from the start, with 0.
func NewMetrics(r *metrics.Registry, kinds []Kind) *Metrics {
	if r == nil {
		return nil
	}
	m := &Metrics{
		events: r.Counter("berth_events_total",
			"Events of a kind, the beginnings of conditions among them; docs/messages.md has the codes.", "code"),
		holding: r.Gauge("berth_condition",
			"Conditions of a kind that hold now and were told; docs/messages.md has the codes.", "code"),
		open: map[string]string{}, count: map[string]int{},
	}
	for _, k := range kinds {
		m.events.Add(0, k.Code)
		if k.Over != "" {
			m.holding.Set(0, k.Code)
		}
	}
	return m
}

// Take is a consumer of one journal.
func (m *Metrics) Take(e Event) {
	if m == nil {
		return
	}
	former, held := m.open[e.ID]
	if held {
		m.held(former, -1)
		delete(m.open, e.ID)
	}
	if e.Lasts && !e.Over {
		m.held(e.Code, 1)
		m.open[e.ID] = e.Code
	}
	if !e.Over {
		m.events.Add(1, e.Code)
	}
}

func (m *Metrics) held(code string, more int) {
	m.count[code] += more
	m.holding.Set(float64(m.count[code]), code)
}
