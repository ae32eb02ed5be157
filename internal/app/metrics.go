package app

import (
	"berth/api"
	"berth/election"
	"berth/health"
	"berth/heartbeat"
	"berth/internal/added"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/patroni"
	"berth/internal/reconcile"
	"berth/internal/status"
	"berth/internal/witness"
	"berth/netif"
	"berth/pool"
	"berth/providers"
	"berth/refresher"
)

// meters are all metrics of a process. Those of a notify script count nothing: the
// process ends before they could be read.
type meters struct {
	registry  *metrics.Registry
	providers *providers.Metrics
	refresher *refresher.Metrics
	status    *status.Metrics
	reconcile *reconcile.Metrics
	election  *election.Metrics
	netif     *netif.Metrics
	pool      *pool.Metrics
	added     *added.Metrics
	health    *health.Metrics
	heartbeat *heartbeat.Metrics
	witness   *witness.Metrics
	patroni   *patroni.Metrics
	api       *api.Metrics
	events    *journal.Metrics
	dropped   *metrics.Counter
}

func newMeters(r *metrics.Registry) *meters {
	return &meters{
		registry:  r,
		providers: providers.NewMetrics(r),
		refresher: refresher.NewMetrics(r),
		status:    status.NewMetrics(r),
		reconcile: reconcile.NewMetrics(r),
		election:  election.NewMetrics(r),
		netif:     netif.NewMetrics(r),
		pool:      pool.NewMetrics(r),
		added:     added.NewMetrics(r),
		health:    health.NewMetrics(r),
		heartbeat: heartbeat.NewMetrics(r),
		witness:   witness.NewMetrics(r),
		patroni:   patroni.NewMetrics(r),
		api:       api.NewMetrics(r),
		events:    journal.NewMetrics(r, Events()),
		dropped: r.Counter("berth_log_lines_dropped_total",
			"Lines of the log that were dropped because the log did not take them in time."),
	}
}
