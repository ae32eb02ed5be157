package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"berth/config"
	"berth/election"
	"berth/internal/metrics"
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
		election: election.NewMetrics(r),
		netif:    netif.NewMetrics(r),
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

const (
	// textfileInterval is that of the scrapers that read such files.
	textfileInterval = 15 * time.Second
	// listenAgain is the wait after the address could not be had.
	listenAgain = 10 * time.Second
)

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
			wg.Go(func() { e.listen(whereCtx, where.Listen) })
		}
		if where.Textfile != "" {
			wg.Go(func() { e.write(whereCtx, where.Textfile) })
		}
		select {
		case <-ctx.Done():
		case <-e.changed:
		}
		cancel(errReloaded)
		wg.Wait()
	}
	return context.Cause(ctx)
}

// listen serves the metrics until ctx ends.
func (e *exporter) listen(ctx context.Context, address string) {
	failing := false
	for ctx.Err() == nil {
		err := e.serve(ctx, address, func(at net.Addr) {
			failing = false
			e.log.Info("metrics are served", zap.Stringer("listen", at))
		})
		if ctx.Err() != nil {
			return
		}
		if !failing {
			failing = true
			e.log.Warn("cannot serve metrics; trying again", zap.String("listen", address), zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func (e *exporter) serve(ctx context.Context, address string, listening func(net.Addr)) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	listening(l.Addr())
	srv := &http.Server{Handler: e, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: zap.NewStdLog(zap.NewNop())}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	return srv.Serve(l)
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

// write keeps a file until ctx ends, and then takes it away: left behind it
// would go on telling of a MASTER.
func (e *exporter) write(ctx context.Context, path string) {
	tick := time.NewTicker(textfileInterval)
	defer tick.Stop()
	failing := false
	for ctx.Err() == nil {
		err := e.replace(path)
		if err != nil && !failing {
			e.log.Warn("cannot write metrics; trying again", zap.String("textfile", path), zap.Error(err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		e.log.Warn("cannot remove metrics", zap.String("textfile", path), zap.Error(err))
	}
}

// replace writes the file so that a reader sees the old one or the new one. The
// name of the unfinished one is not of the kind that readers look for.
func (e *exporter) replace(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".berth-metrics-*")
	if err != nil {
		return err
	}
	err = errors.Join(e.registry.WriteText(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("replace file: %w", err), os.Remove(f.Name()))
	}
	return nil
}
