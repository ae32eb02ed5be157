package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

const (
	// The parts of a request and its answer take no longer than this. A handler may set
	// other deadlines for what remains, see http.ResponseController.
	headerTimeout = 5 * time.Second
	readTimeout   = 5 * time.Second
	writeTimeout  = 10 * time.Second
	// idleTimeout is for how long a connection waits for its next request; longer
	// than most scrapers' interval.
	idleTimeout    = 90 * time.Second
	maxHeaderBytes = 16 << 10

	// listenAgain is the wait after an attempt to listen has failed.
	listenAgain = 10 * time.Second
)

// HTTP is one HTTP server with its limits. It speaks HTTP/1 alone: one connection of
// HTTP/2 carries any number of requests, so that a limit of connections would limit
// nothing.
type HTTP struct {
	Listen  string // address and port
	Handler http.Handler
	TLS     *tls.Config // nil for a server without
	// Connections is how many clients are served at a time. Each costs a descriptor, of
	// which a claim needs some.
	Connections int
	// Loopback refuses to listen at an address that other hosts can reach.
	Loopback bool
	// Served is told when the server listens, Unservable while it cannot.
	Served, Unservable journal.Kind
	Journal            *journal.Journal
}

// Run serves until ctx ends, and returns when the last request has been answered; the
// contexts of requests end with ctx. While the server cannot listen it goes on trying.
func (s *HTTP) Run(ctx context.Context) {
	serving := s.Journal.Condition()
	defer serving.Drop() // whether the next configuration listens here is not known
	for ctx.Err() == nil {
		err := s.once(ctx, func(at net.Addr) {
			if listen := zap.Stringer("listen", at); serving.Holds() {
				serving.Clear(listen)
			} else {
				s.Journal.Tell(s.Served, listen)
			}
		})
		if ctx.Err() != nil {
			return
		}
		serving.Fail(s.Unservable, err, zap.String("listen", s.Listen))
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func (s *HTTP) once(ctx context.Context, listening func(net.Addr)) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return err
	}
	if a, ok := l.Addr().(*net.TCPAddr); s.Loopback && ok && !a.IP.IsLoopback() {
		l.Close()
		return fmt.Errorf("listen %s: other hosts can reach %v", s.Listen, a)
	}
	listening(l.Addr())
	return s.answer(ctx, l)
}

// answer serves the connections of a listener until ctx ends.
func (s *HTTP) answer(ctx context.Context, l net.Listener) error {
	c := connections{max: s.Connections, active: map[net.Conn]bool{}}
	srv := &http.Server{
		Handler:           c.handler(s.Handler),
		TLSConfig:         s.TLS,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         c.changed,
		ConnContext:       c.context,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          zap.NewStdLog(zap.NewNop()),
		Protocols:         new(http.Protocols),

		// The standard library would answer OPTIONS * with 200, whoever asks.
		DisableGeneralOptionsHandler: true,
	}
	srv.Protocols.SetHTTP1(true)
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	defer c.end()
	if s.TLS != nil {
		return srv.ServeTLS(l, "", "")
	}
	return srv.Serve(l)
}
