package page_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/api"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/status"
	"berth/ips"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// server is the server of package api, with a fake cluster behind it and a wire before it.
type server struct {
	t       *testing.T
	api     *api.Server
	options api.Options
	wire    *wire
	served  chan string // where it listens, each time it begins to

	mu       sync.Mutex // guards what follows
	failover func(what string) error
	asks     []string
}

var errTestOver = errors.New("the test is over")

// serve serves a cluster without credentials until the test ends.
func serve(t *testing.T, c *fakeCluster) *server {
	t.Helper()
	s := &server{t: t, wire: newWire(t), served: make(chan string, 1)}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "message"}), servedWriter(s.served), zap.InfoLevel)
	r := &metrics.Registry{}
	s.options = api.Options{Listen: "127.0.0.1:0", Version: "1.2.3", Cluster: c, IPs: addedIPs{s: s}, Instances: s,
		Status:  func() []status.Instance { return nil },
		Ready:   func() (bool, string) { return true, "" },
		Metrics: http.NotFoundHandler(),
		Meters:  api.NewMetrics(r), Journal: journal.New(zap.New(core))}
	s.api = api.New(s.options)
	ctx, cancel := context.WithCancelCause(t.Context())
	var running sync.WaitGroup
	running.Go(func() { s.api.Run(ctx) })
	t.Cleanup(func() {
		cancel(errTestOver)
		running.Wait()
	})
	s.listens()
	return s
}

// listens waits until the server listens, and leads the wire there.
func (s *server) listens() {
	s.t.Helper()
	select {
	case at := <-s.served:
		s.wire.lead(at)
	case <-time.After(patience):
		s.t.Fatal("the server does not listen")
	}
}

// url is where the browser finds the server.
func (s *server) url() string { return s.wire.url() }

// protect has the server require a login from now on, as a changed configuration does.
func (s *server) protect(username, password string) {
	s.t.Helper()
	s.options.Username, s.options.Password = username, password
	s.api.Change(s.options)
	s.listens()
}

// onFailover says what a fail-over of an instance or of an id does.
func (s *server) onFailover(f func(what string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failover = f
}

// asked returns what fail-overs the server was asked for.
func (s *server) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asks, " ")
}

// Failover is that of api.Instances, and serves ips.Service too.
func (s *server) Failover(_ context.Context, what string) error {
	s.mu.Lock()
	s.asks = append(s.asks, what)
	f := s.failover
	s.mu.Unlock()
	return f(what)
}

// addedIPs is an ips.Service of which the page uses the fail-over alone.
type addedIPs struct {
	ips.Service
	s *server
}

// Failover is that of the server.
func (a addedIPs) Failover(ctx context.Context, id string) error { return a.s.Failover(ctx, id) }

func conflict(text string) error { return &ips.ConflictError{Text: text} }

// servedWriter takes lines of the log and passes on where the server listens.
type servedWriter chan<- string

func (w servedWriter) Write(p []byte) (int, error) {
	var line struct{ Message, Listen string }
	if json.Unmarshal(p, &line) == nil && line.Message == "the management API is served" {
		w <- line.Listen
	}
	return len(p), nil
}

func (servedWriter) Sync() error { return nil }
