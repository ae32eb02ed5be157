package providers

import (
	"context"
	"errors"
	"strconv"
	"time"

	"berth/internal/metrics"
)

// Metrics count the requests to providers. Nil counts nothing.
type Metrics struct {
	requests  *metrics.Counter
	responses *metrics.Counter
	took      *metrics.Histogram
	waits     *metrics.Counter
	withheld  *metrics.Counter
}

// Outcomes of a request beside the kinds of errors.
const (
	outcomeOK        = "ok"
	outcomeCancelled = "cancelled" // by berth: the holding or the process ends
)

var outcomes = []string{outcomeOK, outcomeCancelled,
	string(Transient), string(RateLimited), string(Auth), string(NotFound), string(Invalid)}

// NewMetrics declares the metrics in r.
func NewMetrics(r *metrics.Registry) *Metrics {
	return &Metrics{
		requests: r.Counter("berth_provider_requests_total",
			"Requests to the provider, by outcome: ok, cancelled, transient, rate-limited, auth, not-found or invalid.", "provider", "operation", "class"),
		responses: r.Counter("berth_provider_responses_total",
			"Answers of the provider, by HTTP status.", "provider", "status"),
		took: r.Histogram("berth_provider_request_duration_seconds",
			"Time that a request took.", []float64{0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, "provider", "operation"),
		waits: r.Counter("berth_provider_rate_limit_wait_seconds_total",
			"Time for which the provider asked berth to wait.", "provider"),
		withheld: r.Counter("berth_provider_requests_withheld_total",
			"Requests not made because the provider had asked berth to wait.", "provider"),
	}
}

// known makes the series of a provider appear.
func (m *Metrics) known(provider string) {
	if m == nil {
		return
	}
	m.waits.Add(0, provider)
	m.withheld.Add(0, provider)
}

// Request counts a request; status is 0 if there was no answer, and err is nil if
// the request succeeded.
func (m *Metrics) Request(provider, op string, status int, took time.Duration, err error) {
	if m == nil {
		return
	}
	outcome := outcomeOK
	switch e, ok := errors.AsType[*Error](err); {
	case errors.Is(err, context.Canceled):
		outcome = outcomeCancelled
	case ok:
		outcome = string(e.Kind)
	}
	for _, class := range outcomes {
		m.requests.Add(0, provider, op, class)
	}
	m.requests.Add(1, provider, op, outcome)
	m.took.Observe(took.Seconds(), provider, op)
	if status != 0 {
		m.responses.Add(1, provider, strconv.Itoa(status))
	}
}

// paused counts by how much longer no request is made.
func (m *Metrics) paused(provider string, longer time.Duration) {
	if m != nil {
		m.waits.Add(longer.Seconds(), provider)
	}
}

// notAsked counts a request that was not made.
func (m *Metrics) notAsked(provider string) {
	if m != nil {
		m.withheld.Add(1, provider)
	}
}
