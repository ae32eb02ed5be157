package patroni_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/patroni"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

var (
	errEnded   = errors.New("the test has ended")
	errRefused = errors.New("connect: connection refused")
)

// rest is Patroni's REST interface: what it answers from now on.
type rest struct {
	mu     sync.Mutex
	status int           // 0 for an error
	takes  time.Duration // to answer; negative for never
	paths  map[string]bool
	sent   []time.Duration // when requests came, from the begin of the test
	begun  time.Time
	open   int
}

func newREST(status int) *rest {
	return &rest{status: status, begun: time.Now(), paths: map[string]bool{}}
}

// answers has it answer so from now on, also to what was asked before.
func (r *rest) answers(status int, takes time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.takes = status, takes
}

// requests returns when requests came since the last call.
func (r *rest) requests() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := r.sent
	r.sent = nil
	return sent
}

// RoundTrip is that of http.RoundTripper. The answer is that of the time at which the
// request came.
func (r *rest) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	status, takes := r.status, r.takes
	r.sent = append(r.sent, time.Since(r.begun))
	r.paths[req.Method+" "+req.URL.String()] = true
	r.open++
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.open--
	}()
	var after <-chan time.Time
	if takes >= 0 {
		after = time.After(takes)
	}
	select {
	case <-req.Context().Done():
		return nil, req.Context().Err()
	case <-after:
	}
	if status == 0 {
		return nil, errRefused
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: req}, nil
}

// stage is a follower that runs, and what it told.
type stage struct {
	*patroni.Follower
	rest    *rest
	logs    *observer.ObservedLogs
	renewed atomic.Int64
	moved   atomic.Int64
	ctx     context.Context
	end     context.CancelCauseFunc
	done    chan error
}

// follow runs a follower until the end of the test.
func follow(t *testing.T, role patroni.Role, r *rest) *stage {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	s := &stage{rest: r, logs: logs, done: make(chan error, 1)}
	var err error
	s.Follower, err = patroni.New(patroni.Options{Server: patroni.Server{URL: "http://127.0.0.1:8008"}, Role: role, Name: "h1", Via: r,
		Renewed: func() { s.renewed.Add(1) }, Moved: func() { s.moved.Add(1) }, Journal: journal.New(zap.New(core))})
	if err != nil {
		t.Fatal(err)
	}
	s.ctx, s.end = context.WithCancelCause(t.Context())
	go func() { s.done <- s.Run(s.ctx) }()
	return s
}

// stop ends the follower and fails the test if anything of it remains.
func (s *stage) stop(t *testing.T) {
	t.Helper()
	s.end(errEnded)
	if err := <-s.done; err != errEnded {
		t.Errorf("want the cause, got %v", err)
	}
	s.rest.mu.Lock()
	defer s.rest.mu.Unlock()
	if s.rest.open != 0 {
		t.Errorf("want no request left, got %d", s.rest.open)
	}
}

// codes returns the codes of what was told since the last call.
func (s *stage) codes() string {
	var all []string
	for _, l := range s.logs.TakeAll() {
		all = append(all, l.ContextMap()["code"].(string))
	}
	return strings.Join(all, " ")
}
