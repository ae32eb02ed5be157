package serve

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

const (
	// maxConnections is how many clients are served at a time. A scraper needs
	// one; each costs a descriptor, of which a claim needs some.
	maxConnections = 16
	// The parts of a request and its answer take no longer than this.
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

// HTTP serves what a handler answers at an address and port until ctx ends. While
// it cannot listen there it goes on trying.
func HTTP(ctx context.Context, address string, handler http.Handler, j *journal.Journal) {
	serving := j.Condition()
	defer serving.Drop() // whether the next configuration listens here is not known
	for ctx.Err() == nil {
		err := once(ctx, address, handler, func(at net.Addr) {
			if listen := zap.Stringer("listen", at); serving.Holds() {
				serving.Clear(listen)
			} else {
				j.Tell(served, listen)
			}
		})
		if ctx.Err() != nil {
			return
		}
		serving.Fail(unservable, err, zap.String("listen", address))
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

func once(ctx context.Context, address string, handler http.Handler, listening func(net.Addr)) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	listening(l.Addr())
	return answer(ctx, l, handler)
}

// answer serves the connections of a listener until ctx ends.
func answer(ctx context.Context, l net.Listener, handler http.Handler) error {
	c := connections{active: map[net.Conn]bool{}}
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         c.changed,
		ErrorLog:          zap.NewStdLog(zap.NewNop()),
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	return srv.Serve(l)
}

// connections bounds how many connections there are. The connection that has waited
// longest without a whole request makes room for a new one, so that clients that
// only connect keep no other client out. If all are being answered, the new one is
// closed.
type connections struct {
	mu      sync.Mutex
	waiting []net.Conn        // for a request, the longest first
	active  map[net.Conn]bool // being answered
}

// changed is an http.Server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.active, conn)
	c.waiting = slices.DeleteFunc(c.waiting, func(w net.Conn) bool { return w == conn })
	switch state {
	case http.StateActive: // its header was read
		c.active[conn] = true
	case http.StateNew, http.StateIdle:
		c.waiting = append(c.waiting, conn)
		if len(c.waiting)+len(c.active) > maxConnections {
			c.waiting[0].Close()
			c.waiting = c.waiting[1:]
		}
	}
}
