package status

import (
	"berth/internal/metrics"
	"berth/vrrp"
)

// Metrics show the facts of a board. A nil *Metrics shows nothing.
type Metrics struct {
	master      *metrics.Gauge
	corrections *metrics.Counter
}

// NewMetrics declares the metrics in r; it returns nil for none.
func NewMetrics(r *metrics.Registry) *Metrics {
	if r == nil {
		return nil
	}
	return &Metrics{
		master: r.Gauge("berth_instance_master",
			"1 while the instance is MASTER on this host, else 0.", "instance"),
		corrections: r.Counter("berth_corrections_total",
			"Times that the machine showed what no event had told.", "instance"),
	}
}

// Watch shows the facts of a board from now on. Those of a former board of the
// process, which a reload leaves behind, stay until the new board has others.
func (m *Metrics) Watch(b *Board) {
	if m == nil {
		return
	}
	counted := map[string]int{} // corrections of each instance
	b.Subscribe(func(in Instance) {
		if in.forgotten {
			m.corrections.Delete(in.Instance)
			m.master.Delete(in.Instance)
			delete(counted, in.Instance)
			return
		}
		if more := in.Corrections - counted[in.Instance]; more > 0 {
			m.corrections.Add(float64(more), in.Instance)
			counted[in.Instance] = in.Corrections
		}
		if in.Since.IsZero() {
			return // its state is not known yet
		}
		m.corrections.Add(0, in.Instance)
		switch in.State {
		case vrrp.Deleted:
			m.master.Delete(in.Instance)
		case vrrp.Master:
			m.master.Set(1, in.Instance)
		default:
			m.master.Set(0, in.Instance)
		}
	})
}
