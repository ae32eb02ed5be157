package api

import (
	"strconv"
	"sync"

	"berth/internal/metrics"
)

// Metrics are the metrics of a server.
type Metrics struct {
	requests *metrics.Counter
	streams  *metrics.Gauge
	denied   *metrics.Counter

	mu   sync.Mutex
	open int // streams; guarded by mu
}

// stream counts streams of all configurations: those of the former one may end after those of
// the next have begun.
func (m *Metrics) stream(more int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open += more
	m.streams.Set(float64(m.open))
}

// The reasons for which a request is denied.
const (
	deniedLogin  = "login"  // wrong user or password, or none
	deniedOrigin = "origin" // a page of another site
	deniedHost   = "host"   // a name that is not one of this server
)

// NewMetrics declares the metrics; r may be nil.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		requests: r.Counter("berth_api_requests_total", "Requests to the management API, by HTTP status of the answer.", "code"),
		streams:  r.Gauge("berth_api_streams", "Clients that read the events of the management API."),
		denied:   r.Counter("berth_api_denied_total", "Requests that the management API denied, by reason: login, origin or host.", "reason"),
	}
}

// begin makes the series appear.
func (m *Metrics) begin() {
	for _, code := range statuses {
		m.requests.Add(0, strconv.Itoa(code))
	}
	for _, reason := range []string{deniedLogin, deniedOrigin, deniedHost} {
		m.denied.Add(0, reason)
	}
	m.stream(0)
}
