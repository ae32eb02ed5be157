package serve

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"berth/internal/journal"
	"berth/internal/metrics"
)

// maxConnections is how many clients read the metrics at a time. A scraper needs one.
const maxConnections = 16

// Where says where metrics are shown; an empty part shows them nowhere.
type Where struct {
	Listen   string // address and port of an HTTP server
	Textfile string // path of a file for node_exporter
}

// Exporter shows the metrics of a process. A failure is a warning and is tried again:
// metrics never keep berth from its work.
type Exporter struct {
	registry *metrics.Registry
	journal  *journal.Journal

	mu      sync.Mutex
	where   Where
	changed chan struct{} // one slot
}

// NewExporter returns an exporter that shows the metrics nowhere yet.
func NewExporter(r *metrics.Registry, j *journal.Journal) *Exporter {
	return &Exporter{registry: r, journal: j, changed: make(chan struct{}, 1)}
}

// Show says where the metrics are shown from now on. It never blocks.
func (e *Exporter) Show(where Where) {
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

// errElsewhere is the cause with which the metrics end in one place.
var errElsewhere = errors.New("the configuration shows the metrics elsewhere")

// Run shows the metrics until ctx ends, and returns ctx's cause.
func (e *Exporter) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		e.mu.Lock()
		where := e.where
		select {
		case <-e.changed: // to what was just read
		default:
		}
		e.mu.Unlock()
		whereCtx, cancel := context.WithCancelCause(ctx)
		var wg sync.WaitGroup
		if where.Listen != "" {
			server := HTTP{Listen: where.Listen, Handler: e, Connections: maxConnections, Served: served, Unservable: unservable, Journal: e.journal}
			wg.Go(func() { server.Run(whereCtx) })
		}
		if where.Textfile != "" {
			wg.Go(func() { Textfile(whereCtx, where.Textfile, e.registry.WriteText, e.journal) })
		}
		select {
		case <-ctx.Done():
		case <-e.changed:
		}
		cancel(errElsewhere)
		wg.Wait()
	}
	return context.Cause(ctx)
}

// ServeHTTP answers for /metrics.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/metrics":
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	default:
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = e.registry.WriteText(w) // a client that has gone needs no answer
	}
}
