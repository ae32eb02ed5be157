package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/api"
	"berth/internal/cluster"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/status"
	"berth/ips"
	"berth/pool"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// world is what a server shows and changes, in memory.
type world struct {
	mu      sync.Mutex
	ips     map[string]ips.Address // by id
	calls   []string               // of everything that changes something
	err     error                  // of each call that changes something
	wait    bool                   // such a call waits until its context ends
	view    cluster.View
	watched map[*func()]bool
	pool    *pool.Overview
	ready   string // why this process is not ready
	status  []status.Instance
	listens chan string // where a server has begun to listen
	codes   chan string // of what was told
}

func newWorld() *world {
	at := time.Date(2026, 11, 29, 20, 0, 0, 0, time.UTC)
	return &world{ips: map[string]ips.Address{}, watched: map[*func()]bool{}, listens: make(chan string, 16), codes: make(chan string, 1024),
		view: cluster.View{Prefix: "/berth/", This: "lb1", Now: at, Etcd: cluster.EtcdView{Used: true, Reachable: true},
			Members:   []cluster.MemberView{{Name: "lb1", Here: true, Health: []cluster.HealthView{}, State: cluster.Able, LeaseLeft: 4200}},
			Addresses: []cluster.AddressView{}, Moves: []cluster.Move{}},
		pool:   &pool.Overview{Prefix: "/berth/pool/", Addresses: []pool.AddressView{}, Members: []pool.MemberView{}, Strays: []pool.StrayView{}},
		status: []status.Instance{{Instance: "api", State: vrrp.Master, Since: at, Addresses: []status.Address{}}},
	}
}

// call notes a call that changes something.
func (w *world) call(ctx context.Context, format string, values ...any) error {
	w.mu.Lock()
	w.calls = append(w.calls, fmt.Sprintf(format, values...))
	err, wait := w.err, w.wait
	w.mu.Unlock()
	if wait {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := strings.Join(w.calls, "; ")
	w.calls = nil
	return all
}

// service is the ips.Service of a world.
type service struct{ *world }

func (s service) List() []ips.Address {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.ips), func(a, b ips.Address) int { return cmp.Compare(a.ID, b.ID) })
}

func (s service) Get(id string) (ips.Address, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, there := s.ips[id]
	if !there {
		return a, fmt.Errorf("find %q: %w", id, ips.ErrUnknown)
	}
	return a, nil
}

func (s service) Add(ctx context.Context, spec ips.Spec) (ips.Address, error) {
	if err := s.call(ctx, "add %s %v %d %d", spec.IP, spec.Checks, spec.KeepaliveInterval, spec.HealthcheckInterval); err != nil {
		return ips.Address{}, err
	}
	ip, err := spec.Parse()
	if err != nil {
		return ips.Address{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ips.ID(ip.Addr())
	if _, there := s.ips[id]; there {
		return ips.Address{}, ips.ErrAssigned
	}
	s.ips[id] = ips.Address{ID: id, IP: ip.String(), Checks: spec.Checks, KeepaliveInterval: spec.KeepaliveInterval, HealthcheckInterval: spec.HealthcheckInterval,
		Status: ips.Standby, Owner: "lb2", Since: s.view.Now, Reason: "lb2 owns it", LastEvent: &ips.Happened{Event: ips.Demoted, At: s.view.Now}}
	return s.ips[id], nil
}

func (s service) Remove(ctx context.Context, id string) error {
	if _, err := s.Get(id); err != nil {
		return err
	}
	if err := s.call(ctx, "remove %s", id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ips, id)
	return nil
}

func (s service) Update(ctx context.Context, id string, c ips.Change) (ips.Address, error) {
	text := func(n *int) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	checks := "-"
	if c.Checks != nil {
		checks = fmt.Sprint(*c.Checks)
	}
	a, err := s.Get(id)
	if err == nil {
		err = s.call(ctx, "update %s %s %s %s", id, checks, text(c.KeepaliveInterval), text(c.HealthcheckInterval))
	}
	return a, err
}

func (s service) Lock(ctx context.Context, id string) error {
	if _, err := s.Get(id); err != nil {
		return err
	}
	return s.call(ctx, "lock %s", id)
}

func (s service) Failover(ctx context.Context, id string) error {
	if _, err := s.Get(id); err != nil {
		return err
	}
	return s.call(ctx, "failover %s", id)
}

// instances are the api.Instances of a world.
type instances struct{ *world }

func (i instances) Failover(ctx context.Context, instance string) error {
	if instance == "nobody" {
		return fmt.Errorf("find %q: %w", instance, ips.ErrUnknown)
	}
	return i.call(ctx, "failover of instance %s", instance)
}

// addresses are the api.Pool of a world.
type addresses struct{ *world }

func (a addresses) List(ctx context.Context) (*pool.Overview, error) {
	if a.err != nil {
		return nil, a.err
	}
	return a.pool, nil
}

func (a addresses) Add(ctx context.Context, texts []string) ([]pool.Change, error) {
	if err := a.call(ctx, "add %v to the pool", texts); err != nil {
		return nil, err
	}
	return []pool.Change{{What: texts[0], Done: "added"}}, nil
}

func (a addresses) Remove(ctx context.Context, texts []string) ([]pool.Change, error) {
	if texts[0] == "192.0.2.99" {
		return nil, fmt.Errorf("remove %s from the pool: %w", texts[0], pool.ErrAbsent)
	}
	return []pool.Change{{What: texts[0], Done: "removed"}}, a.call(ctx, "remove %v from the pool", texts)
}

func (a addresses) Drain(ctx context.Context, member string, own, undo bool) (pool.Change, error) {
	return pool.Change{What: member, Done: "drained"}, a.call(ctx, "drain %s own=%v undo=%v", member, own, undo)
}

// View is that of api.Cluster.
func (w *world) View() cluster.View {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view
}

// Watch is that of api.Cluster.
func (w *world) Watch(changed func()) (stop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched[&changed] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watched, &changed)
	}
}

// change changes the view.
func (w *world) change(note string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.view.Note = note
	for changed := range w.watched {
		(*changed)()
	}
}

// options are those of a server for a world, without credentials. lines has what was said.
func (w *world) options(t *testing.T) (o api.Options, r *metrics.Registry, lines *observer.ObservedLogs) {
	t.Helper()
	said, lines := observer.New(zap.InfoLevel)
	core := zapcore.NewTee(said, listenCore{zapcore.NewNopCore(), w.listens})
	r = &metrics.Registry{}
	return api.Options{Listen: "127.0.0.1:0", Version: "1.2.3", IPs: service{w}, Pool: addresses{w}, Instances: instances{w}, Cluster: w,
		Status: func() []status.Instance { return w.status },
		Ready:  func() (bool, string) { return w.ready == "", w.ready },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			_ = r.WriteText(w)
		}),
		Meters: api.NewMetrics(r), Journal: journal.New(zap.New(core), func(e journal.Event) { w.codes <- e.Code })}, r, lines
}

// await waits until something with a code is told.
func (w *world) await(t *testing.T, code string) {
	t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case told := <-w.codes:
			if told == code {
				return
			}
		case <-end:
			t.Fatal(code + " is not told")
		}
	}
}

// listenCore passes on where a server listens.
type listenCore struct {
	zapcore.Core
	listens chan<- string
}

// Enabled lets all levels pass.
func (listenCore) Enabled(zapcore.Level) bool { return true }

// Check adds the core.
func (c listenCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, c)
}

// Write passes on the field listen of a net.Addr.
func (c listenCore) Write(_ zapcore.Entry, fields []zapcore.Field) error {
	for _, f := range fields {
		if a, is := f.Interface.(net.Addr); is && f.Key == "listen" {
			c.listens <- a.String()
		}
	}
	return nil
}

// send sends a request to a handler; each header is "Name: value", with Host among them.
func send(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, content)
	r.Host = "127.0.0.1:1313"
	r.RemoteAddr = "192.0.2.77:5000"
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// said returns the text of an error, and fails the test unless both keys have it.
func said(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || len(p) != 2 || p["error"] != p["msg"] || p["error"] == "" {
		t.Errorf("want an error with two keys, got %s, %v", w.Body, err)
	}
	return p["error"]
}

func zapCode(code string) zap.Field { return zap.String("code", code) }
