package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"sync"

	"berth/internal/certs"
	"berth/internal/journal"
	"berth/internal/run"

	"go.uber.org/zap"
)

// errReplaced is the cause with which a site ends when another one takes its place.
var errReplaced = errors.New("the configuration of the management API has changed")

// site is what follows from one set of options.
type site struct {
	options    Options
	journal    *journal.Journal
	meters     *Metrics
	conditions conditions
	loopback   bool // only this host can reach the listener

	login   login
	hosts   hosts
	pair    *certs.Pair // nil without TLS
	feed    *feed
	mux     *http.ServeMux
	failing chan string   // one slot: the client whose login has failed
	ended   chan struct{} // closed by endStreams
	end     sync.Once
}

// newSite makes a site. The certificate of the former one goes on if it is of the same files.
func (s *Server) newSite(o Options, former *certs.Pair) *site {
	n := &site{options: o, journal: s.journal, meters: s.meters, conditions: s.conditions, loopback: isLoopback(o.Listen),
		login: newLogin(o.Username, o.Password), mux: http.NewServeMux(), failing: make(chan string, 1), ended: make(chan struct{})}
	if o.CertFile != "" {
		n.pair = former.For(o.CertFile, o.KeyFile)
	}
	n.hosts = newHosts(o, n.pair)
	n.feed = newFeed(o.Cluster, s.meters)
	for _, r := range n.routes() {
		n.mux.Handle(r.pattern, r.handler)
	}
	return n
}

func (s *site) where() where {
	return where{listen: s.options.Listen, tls: s.pair != nil, loopback: s.options.Username == ""}
}

// run runs what a site needs until ctx ends. Then its streams end.
func (s *site) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.endStreams)
	defer stop()
	// The tasks end with ctx alone.
	_ = run.Together(ctx,
		run.Task{Name: "events", Run: s.feed.run},
		run.Task{Name: "logins", Run: s.watchLogins},
		run.Task{Name: "certificate", Run: s.watchCertificate})
}

// endStreams ends the streams of events; further calls do nothing.
func (s *site) endStreams() { s.end.Do(func() { close(s.ended) }) }

// ServeHTTP answers a request after all checks that do not depend on its route.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &counted{ResponseWriter: w, meters: s.meters}
	defer func() {
		if p := recover(); p != nil {
			s.failed(c, r, p)
		}
	}()
	harden(c.Header())
	if err := s.admit(c, r); err != nil {
		status, text := statusOf(err)
		// The rest of the request is not read.
		c.Header().Set("Connection", "close")
		writeError(c, status, text)
		return
	}
	if err := readBody(c, r); err != nil {
		status, text := statusOf(err)
		c.Header().Set("Connection", "close")
		writeError(c, status, text)
		return
	}
	s.route(c, r)
}

// failed answers after a panic, and tells of it once.
func (s *site) failed(c *counted, r *http.Request, p any) {
	if p == http.ErrAbortHandler { // of the standard library: the client has gone
		panic(p)
	}
	s.conditions.requests.Fail(broken, fmt.Errorf("panic: %v", p), zap.String("route", r.Pattern), zap.Stack("stack"))
	if c.status == 0 {
		writeError(c, http.StatusInternalServerError, "a fault of berth; its log has the reason")
		return
	}
	panic(http.ErrAbortHandler) // a part of the answer has gone out: the connection must end
}

// harden sets what keeps a browser from using an answer in another way than it was meant.
func harden(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // the page has its own
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// route has the handler of the route answer. Slashes too many do not count.
func (s *site) route(w http.ResponseWriter, r *http.Request) {
	plain := plainPath(r.URL)
	decoded, err := url.PathUnescape(plain)
	if err != nil {
		writeError(w, http.StatusNotFound, errNoRoute)
		return
	}
	r.URL.Path, r.URL.RawPath = decoded, plain
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		s.mux.ServeHTTP(w, r) // which sets the values of the path
		return
	}
	// The mux has written an answer for people.
	a := &discarded{header: http.Header{}}
	h.ServeHTTP(a, r)
	if allow := a.header.Get("Allow"); a.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allow)
		writeError(w, a.status, "the method "+r.Method+" is not for this path; allowed are "+allow)
		return
	}
	writeError(w, http.StatusNotFound, errNoRoute)
}

const errNoRoute = "not found: no such route; /openapi.json describes all"

// plainPath returns the escaped path of a URL with one slash between its parts and none at
// its end.
func plainPath(u *url.URL) string { return path.Clean("/" + u.EscapedPath()) }

// counted counts an answer by its status.
type counted struct {
	http.ResponseWriter
	meters *Metrics
	status int // 0 until the header is written
}

// WriteHeader counts the first status.
func (c *counted) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
		c.meters.requests.Add(1, strconv.Itoa(status))
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the body.
func (c *counted) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	return c.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// discarded takes an answer that is not sent.
type discarded struct {
	header http.Header
	status int
}

// Header returns the header.
func (d *discarded) Header() http.Header { return d.header }

// WriteHeader takes the status.
func (d *discarded) WriteHeader(status int) { d.status = status }

// Write takes a part of the body.
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
