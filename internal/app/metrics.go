package app

import (
	"context"
	"net/http"
	"sync"

	"berth/config"
	"berth/election"
	"berth/internal/metrics"
	"berth/internal/reconcile"
	"berth/internal/reload"
	"berth/internal/serve"
	"berth/netif"
	"berth/providers"
	"berth/refresher"
	"berth/vrrp"

	"go.uber.org/zap"
)

// meters are all metrics of a process. Those of a notify script count nothing:
// it ends before anybody could read them.
type meters struct {
	providers   *providers.Metrics
	refresher   *refresher.Metrics
	master      *metrics.Gauge
	corrections *metrics.Counter
	reconcile   *reconcile.Metrics
	election    *election.Metrics
	netif       *netif.Metrics
	dropped     *metrics.Counter
}

func newMeters(r *metrics.Registry) *meters {
	return &meters{
		providers: providers.NewMetrics(r),
		refresher: refresher.NewMetrics(r),
		master: r.Gauge("berth_instance_master",
			"1 while the instance is MASTER on this host, else 0.", "instance"),
		corrections: r.Counter("berth_corrections_total",
			"Times that the machine showed what no event had told.", "instance"),
		reconcile: reconcile.NewMetrics(r),
		election:  election.NewMetrics(r),
		netif:     netif.NewMetrics(r),
		dropped: r.Counter("berth_log_lines_dropped_total",
			"Lines of the log that were dropped because nobody took them."),
	}
}

// changed takes the state of an instance.
func (m *meters) changed(instance string, state vrrp.State) {
	m.corrections.Add(0, instance)
	switch state {
	case vrrp.Deleted:
		m.master.Delete(instance)
	case vrrp.Master:
		m.master.Set(1, instance)
	default:
		m.master.Set(0, instance)
	}
}

// exporter shows the metrics where the configuration says. Nothing of it can
// keep berth from its work: what fails is a warning, and tried again.
type exporter struct {
	registry *metrics.Registry
	log      *zap.Logger

	mu      sync.Mutex
	where   config.Metrics
	changed chan struct{}
}

func newExporter(r *metrics.Registry, log *zap.Logger) *exporter {
	return &exporter{registry: r, log: log, changed: make(chan struct{}, 1)}
}

// show tells where from now on. It never blocks.
func (e *exporter) show(where config.Metrics) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if where == e.where {
		return
	}
	e.where = where
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// Run shows the metrics until ctx ends.
func (e *exporter) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		e.mu.Lock()
		where := e.where
		select {
		case <-e.changed: // this is the news of it
		default:
		}
		e.mu.Unlock()
		whereCtx, cancel := context.WithCancelCause(ctx)
		var wg sync.WaitGroup
		if where.Listen != "" {
			wg.Go(func() { serve.HTTP(whereCtx, where.Listen, e, e.log) })
		}
		if where.Textfile != "" {
			wg.Go(func() { serve.Textfile(whereCtx, where.Textfile, e.registry.WriteText, e.log) })
		}
		select {
		case <-ctx.Done():
		case <-e.changed:
		}
		cancel(reload.ErrReloaded)
		wg.Wait()
	}
	return context.Cause(ctx)
}

// ServeHTTP answers for /metrics.
func (e *exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/metrics":
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	default:
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = e.registry.WriteText(w) // a reader that has gone is its own affair
	}
}
