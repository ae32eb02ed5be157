package cloudsim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// exchange is one request on its way through the simulator.
type exchange struct {
	r      *http.Request
	body   []byte
	record *Request // guarded by Sim.mu
	route  route    // the zero route if nothing serves the path
	stale  bool     // show the state before the last move
	extra  bool     // add fields that no API has
	random bool     // lists in random order
	dry    bool     // answer as if the write had succeeded, change nothing

	// Faults of Exoscale's lists of instances and of its operations.
	filterIgnored, filterLags, filterNo6 bool
	ungrouped                            bool   // its list of instances lacks the security groups
	failure                              string // reason with which the operation ends
	vanishes                             bool   // the operation is not found later
}

// answer is the answer of an API to a request.
type answer struct {
	status      int
	contentType string // default: JSON if there is a body
	body        []byte
}

// say returns an answer with a JSON body.
func say(status int, body any) answer {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // all bodies are plain maps and slices of this package
	}
	return answer{status: status, body: append(b, '\n')}
}

const maxRequestBody = 1 << 20

// ServeHTTP answers a request, under the faults that apply to it.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		s.control(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err != nil {
		return // the client broke off while sending, so that no request arrived
	}
	x := &exchange{r: r, body: body}
	for _, rt := range s.routes {
		if strings.HasPrefix(r.URL.Path, rt.prefix) {
			x.route = rt
		}
	}
	w.Header().Set("Date", s.clock().UTC().Format(http.TimeFormat))
	s.arrive(x)
	defer s.leave(x)
	s.waitAtGates(x)

	f := s.pick(x)
	if f.Latency > 0 {
		// The wait does not end when the client leaves: see the package comment.
		time.Sleep(f.Latency)
	}
	s.answer(w, x, f)
}

// dispatch hands the request to the API that the path belongs to.
func (s *Sim) dispatch(x *exchange) answer {
	if x.route.serve == nil {
		return notFound()
	}
	return x.route.serve(x)
}

// shuffle puts a list in random order under the fault Unordered. It is called with
// mu held.
func (s *Sim) shuffle(x *exchange, list []json.RawMessage) {
	if x.random {
		s.chance.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
}

// send writes an answer and records its status in the history.
func (s *Sim) send(w http.ResponseWriter, x *exchange, a answer) {
	s.note(x, func(r *Request) { r.Status = a.status })
	if a.contentType == "" && len(a.body) > 0 {
		a.contentType = "application/json"
	}
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.WriteHeader(a.status)
	w.Write(a.body) // an error means that the client has gone
}

// listenLoopback refuses an address that is not loopback, because every client could
// move every address.
func listenLoopback(addr string) (net.Listener, error) {
	ta, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	if !ta.IP.IsLoopback() {
		return nil, fmt.Errorf("listen on %s: the simulator serves on loopback only, such as 127.0.0.1:8080", addr)
	}
	return net.ListenTCP("tcp", ta)
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	served := make(chan struct{})
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-served:
		}
		srv.Close()
	})
	err := srv.Serve(l)
	close(served)
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve the simulator: %w", err)
}

// compact returns a body in one line for the history.
func compact(body []byte) string { return string(bytes.TrimSpace(body)) }
