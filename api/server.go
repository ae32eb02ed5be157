package api

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"

	"berth/internal/cluster"
	"berth/internal/journal"
	"berth/internal/run"
	"berth/internal/serve"
	"berth/internal/status"
	"berth/ips"

	"go.uber.org/zap"
)

// Options are what a server shows and what it changes.
type Options struct {
	Listen      string // address and port, "" for nowhere
	Username    string // "": without credentials, and for this host alone
	Password    string
	CertFile    string // with KeyFile; "": without TLS
	KeyFile     string
	ServerNames []string // of this server, beside those that it knows
	Version     string   // of berth

	IPs       ips.Service // nil where no address can be added at run time
	Pool      Pool        // nil without a pool
	Instances Instances   // nil where no instance can be handed over
	Cluster   Cluster
	Status    func() []status.Instance
	// Ready reports whether this process takes part in what it was started for, and if not,
	// why.
	Ready   func() (ready bool, reason string)
	Metrics http.Handler // of /metrics

	Meters  *Metrics
	Journal *journal.Journal // of the process
}

// Cluster is what is known of all members.
type Cluster interface {
	// View returns the cluster as it is now. It does not block.
	View() cluster.View
	// Watch has changed called after each change, until stop is called. changed does not
	// block.
	Watch(changed func()) (stop func())
}

// Instances hands over instances of the configuration.
type Instances interface {
	// Failover has another member that is able become the owner, if this member is that;
	// else this member becomes it, by agreement with the owner. The errors are those of
	// ips.Service.
	Failover(ctx context.Context, instance string) error
}

// maxConnections is how many clients are served at a time.
const maxConnections = 32

// Server serves the management API. Its methods may be called by several goroutines at
// once.
type Server struct {
	journal    *journal.Journal
	meters     *Metrics
	conditions conditions
	changed    chan struct{} // one slot: there is another site

	mu   sync.Mutex
	site *site // in force; guarded by mu
}

// New returns a server. It starts nothing.
func New(o Options) *Server {
	s := &Server{journal: o.Journal, meters: o.Meters, conditions: newConditions(o.Journal), changed: make(chan struct{}, 1)}
	s.meters.begin()
	s.site = s.newSite(o, nil)
	return s
}

// Change has the server go on with other options; Meters and Journal stay. Where Listen is
// the same, no connection is refused meanwhile. Streams of events end, and their clients
// begin them again.
func (s *Server) Change(o Options) {
	s.mu.Lock()
	former := s.site
	s.site = s.newSite(o, former.pair)
	s.mu.Unlock()
	former.endStreams() // Run may not have come to it
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *Server) current() *site {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.site
}

// Handler returns what answers the requests, with all checks but for the limit of
// connections. Streams of events have content while Run runs.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.current().ServeHTTP(w, r) })
}

// where is what a listener depends on.
type where struct {
	listen        string
	tls, loopback bool
}

// Run serves until ctx ends, and returns its cause. An address that is in use is tried
// again.
func (s *Server) Run(ctx context.Context) error {
	defer s.conditions.drop()
	for ctx.Err() == nil {
		select {
		case <-s.changed: // to the site that is taken now
		default:
		}
		site := s.current()
		at := site.where()
		site.warn()
		err := run.Together(ctx,
			run.Task{Name: "listener", Run: func(ctx context.Context) error { return s.listen(ctx, at) }},
			run.Task{Name: "site", Run: func(ctx context.Context) error { return s.keep(ctx, site, at) }})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// keep runs the site in force, one after the other, and returns nil when one is to be
// served elsewhere than at a place.
func (s *Server) keep(ctx context.Context, site *site, at where) error {
	for {
		siteCtx, cancel := context.WithCancelCause(ctx)
		var running sync.WaitGroup
		running.Go(func() { site.run(siteCtx) })
		select {
		case <-ctx.Done():
		case <-s.changed:
		}
		cancel(errReplaced)
		running.Wait()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		former := site
		if site = s.current(); site.where() != at {
			return nil
		}
		if site.warning() != former.warning() {
			site.warn()
		}
	}
}

// listen serves the site in force at a place until ctx ends.
func (s *Server) listen(ctx context.Context, at where) error {
	if at.listen == "" {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	server := serve.HTTP{Listen: at.listen, Handler: s.Handler(), Connections: maxConnections, Loopback: at.loopback,
		Served: served, Unservable: unservable, Journal: s.journal}
	if at.tls {
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if pair := s.current().pair; pair != nil {
				return pair.Certificate()
			}
			return nil, errReplaced // by one without TLS
		}}
	}
	server.Run(ctx)
	return context.Cause(ctx)
}

// warning returns the code of what an operator should know of the way in which the API is
// served, "" for nothing.
func (s *site) warning() string {
	switch o := s.options; {
	case o.Listen == "":
		return ""
	case o.Username == "":
		return open.Code
	case o.CertFile == "" && !s.loopback:
		return plain.Code
	}
	return ""
}

// warn tells of that.
func (s *site) warn() {
	for _, k := range []journal.Kind{open, plain} {
		if k.Code == s.warning() {
			s.journal.Tell(k, zap.String("listen", s.options.Listen))
		}
	}
}
