package cloudsim

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Request is the record of one request and its effect. Requests to the control paths
// are not recorded.
type Request struct {
	Time   time.Time // when the whole request had arrived
	Done   time.Time // when it was answered or abandoned, zero before
	Method string
	Path   string // with the query, if any
	Remote string // address of the client, empty in-process
	Body   string
	Status int  // as sent, 0 if no status line was sent
	Write  bool // it requests a change
	Token  bool // it had the right credentials
	// Metadata means that it was for the metadata service and not for the API.
	Metadata bool
	// Fault is the fault that was applied, or empty.
	Fault   Kind
	Applied bool // it changed the state
}

// History returns all requests since the start or the last ClearHistory, oldest
// first. A pending request has no Done time.
func (s *Sim) History() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := make([]Request, len(s.history))
	for i, r := range s.history {
		h[i] = *r
	}
	return h
}

// ClearHistory forgets all requests.
func (s *Sim) ClearHistory() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = nil
}

// OnDone sets a function that is called with the record of each request after its
// end, in any order, and concurrently.
func (s *Sim) OnDone(f func(Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onDone = f
}

func (s *Sim) arrive(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.record = &Request{
		Time:   time.Now(),
		Method: x.r.Method,
		Path:   x.r.URL.RequestURI(),
		Remote: x.r.RemoteAddr,
		Body:   compact(x.body),
		Write:  x.r.Method != http.MethodGet && x.r.Method != http.MethodHead,
		Token:  x.route.trusts != nil && x.route.trusts(x),

		Metadata: x.route.metadata,
	}
	s.history = append(s.history, x.record)
	if arrived, ok := x.r.Context().Value(arrivedKey{}).(func()); ok {
		arrived()
	}
}

func (s *Sim) leave(x *exchange) {
	s.mu.Lock()
	x.record.Done = time.Now()
	done, f := *x.record, s.onDone
	s.mu.Unlock()
	if f != nil {
		f(done)
	}
}

// note changes the record of a request, with the lock held.
func (s *Sim) note(x *exchange, change func(*Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(x.record)
}

// Gate delays the handling of requests until Release, so that a test can order the
// two sides of a race.
type Gate struct {
	method, path string
	arrived      chan Request
	release      chan struct{}
	once         sync.Once
}

// Gate puts a gate before all requests from now on that have this method ("" for any)
// and whose path starts with path. They count as arrived but not as carried out.
func (s *Sim) Gate(method, path string) *Gate {
	g := &Gate{method: method, path: path, arrived: make(chan Request, 1024), release: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gates = append(s.gates, g)
	return g
}

// Wait returns the next request that has arrived and waits for Release, or the cause
// of ctx.
func (g *Gate) Wait(ctx context.Context) (Request, error) {
	select {
	case r := <-g.arrived:
		return r, nil
	case <-ctx.Done():
		return Request{}, context.Cause(ctx)
	}
}

// Release ends the delay of all requests, those to come included.
func (g *Gate) Release() { g.once.Do(func() { close(g.release) }) }

// waitAtGates blocks while a gate selects the request. The request has arrived, even if
// its client goes away meanwhile.
func (s *Sim) waitAtGates(x *exchange) {
	s.mu.Lock()
	gates := slices.Clone(s.gates)
	r := *x.record
	s.mu.Unlock()
	for _, g := range gates {
		if (g.method != "" && g.method != r.Method) || !strings.HasPrefix(r.Path, g.path) {
			continue
		}
		select {
		case <-g.release:
			continue
		default:
		}
		select {
		case g.arrived <- r:
		default: // more than a test will wait for
		}
		<-g.release
	}
}
