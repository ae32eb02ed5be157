package refresher

import (
	"time"

	"berth/internal/metrics"
)

// Metrics tell how the addresses of this host fare.
type Metrics struct {
	success   *metrics.Gauge
	contested *metrics.Gauge
	leftAlone *metrics.Gauge
	claims    *metrics.Counter
	thefts    *metrics.Counter
}

// NewMetrics declares the metrics in r.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		success: r.Gauge("berth_last_success_timestamp_seconds",
			"When the address was last seen to point here, 0 if not yet; only while its instance is MASTER.", "instance", "address"),
		contested: r.Gauge("berth_contested",
			"1 while the address is taken away again and again; only while its instance is MASTER.", "instance", "address"),
		leftAlone: r.Gauge("berth_left_alone",
			"1 while the address is left alone because it is not a floating IP of the account and never pointed here; only while its instance is MASTER.", "instance", "address"),
		claims: r.Counter("berth_claims_total",
			"Times that the address was claimed.", "instance", "address"),
		thefts: r.Counter("berth_thefts_total",
			"Times that the address was found taken away.", "instance", "address"),
	}
}

// Series returns the series of one address of an instance.
func (m *Metrics) Series(instance, address string) *Series {
	return &Series{m, instance, address}
}

// Series are the metrics of one loop. Nil counts nothing.
type Series struct {
	m                 *Metrics
	instance, address string
}

func (s *Series) begin() {
	if s == nil {
		return
	}
	s.m.success.Set(0, s.instance, s.address)
	s.m.contested.Set(0, s.instance, s.address)
	s.m.leftAlone.Set(0, s.instance, s.address)
	s.m.claims.Add(0, s.instance, s.address)
	s.m.thefts.Add(0, s.instance, s.address)
}

// end deletes the series that an alert would take for those of a failing MASTER.
func (s *Series) end() {
	if s == nil {
		return
	}
	s.m.success.Delete(s.instance, s.address)
	s.m.contested.Delete(s.instance, s.address)
	s.m.leftAlone.Delete(s.instance, s.address)
}

func (s *Series) succeeded(now time.Time) {
	if s != nil {
		s.m.success.Set(float64(now.UnixMilli())/1000, s.instance, s.address)
	}
}

func (s *Series) claimed() {
	if s != nil {
		s.m.claims.Add(1, s.instance, s.address)
	}
}

func (s *Series) stolen() {
	if s != nil {
		s.m.thefts.Add(1, s.instance, s.address)
	}
}

func (s *Series) contested(on bool) {
	if s != nil {
		s.m.contested.Set(number(on), s.instance, s.address)
	}
}

func (s *Series) leftAlone(on bool) {
	if s != nil {
		s.m.leftAlone.Set(number(on), s.instance, s.address)
	}
}

func number(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
