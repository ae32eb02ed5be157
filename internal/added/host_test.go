package added_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/health"
	"berth/internal/added"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/status"
	"berth/ips"
	"berth/refresher"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// services are what health checks connect to.
type services struct {
	mu   sync.Mutex // guards what follows
	down map[string]bool
	runs map[string]int
}

func (v *services) set(target string, up bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.down[target] = !up
}

func (v *services) check(target string) health.Check {
	return func(context.Context) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.runs[target]++
		if v.down[target] {
			return errors.New("connection refused")
		}
		return nil
	}
}

// host is a member with its set.
type host struct {
	*member
	*added.Set
	services *services
	board    *status.Board
	registry *metrics.Registry
	logs     *observer.ObservedLogs
	stop     func(cause error)
}

// start starts a host. It is stopped at the end of the test, if not before.
func (e *etcd) start(name string, set func(*added.Options, *host)) *host {
	e.t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	h := &host{member: &member{etcd: e, name: name}, logs: logs, services: &services{down: map[string]bool{}, runs: map[string]int{}}, registry: &metrics.Registry{}}
	h.member.Set(true, "")
	j := journal.New(zap.New(core))
	h.board = status.NewBoard(e.t.TempDir(), status.Instance{Mode: "elect", Prefix: prefix, Member: name}, j)
	o := added.Options{Name: name, Prefix: prefix, Member: h.member, Etcd: e, Decider: h.member, Interface: h.member, Status: h.board, Journal: j,
		Timeout: 10 * time.Second, Metrics: added.NewMetrics(h.registry), Check: h.services.check,
		Addresses: func(r []refresher.Report) (list []status.Address) {
			for _, a := range r {
				list = append(list, status.Address{Address: a.Address, Owner: a.Owner})
			}
			return list
		},
		Takeover: func(_ context.Context, instance string) error {
			e.mu.Lock()
			q := e.queue[instance]
			e.mu.Unlock()
			if !contains(q, name) {
				return &election.RefusedError{Reason: "member " + name + " does not take part in the election of " + instance}
			}
			e.change(func() { e.yields[instance] = q[0] })
			return nil
		},
		Release: func(_ context.Context, instance string) error {
			e.mu.Lock()
			q := e.queue[instance]
			e.mu.Unlock()
			if len(q) < 2 {
				return &election.RefusedError{Reason: "no other member takes part in the election of " + instance}
			}
			e.change(func() { e.yields[instance] = q[0] })
			return nil
		},
	}
	if set != nil {
		set(&o, h)
	}
	h.Set = added.New(o)
	h.Presume(h.presume)
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	h.Prepare()
	go func() { done <- h.Run(ctx) }()
	h.stop = func(cause error) {
		if ctx.Err() == nil {
			cancel(cause)
			if err := <-done; err != cause {
				e.t.Errorf("%s: want the cause %v, got %v", name, cause, err)
			}
		}
	}
	return h
}

var errStop = errors.New("stopped")

// world runs a test in a bubble, with two hosts.
func world(t *testing.T, f func(t *testing.T, e *etcd, a, b *host)) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		a, b := e.start("lb1", nil), e.start("lb10", nil)
		defer b.stop(errStop)
		defer a.stop(errStop)
		synctest.Wait()
		f(t, e, a, b)
	})
}

// lines returns the messages of a kind that were logged.
func (h *host) lines(code string) []string {
	var all []string
	for _, e := range h.logs.FilterField(zap.String("code", code)).All() {
		text := ""
		for _, key := range []string{"event", "key", "address", "former", "state", "reason", "error"} {
			if v, ok := e.ContextMap()[key]; ok && fmt.Sprint(v) != "" {
				text += fmt.Sprintf("%s=%v ", key, v)
			}
		}
		all = append(all, strings.TrimSpace(text))
	}
	return all
}

// state returns the state of an address.
func (h *host) state(t *testing.T, id string) ips.State {
	t.Helper()
	a, err := h.Get(id)
	if err != nil {
		t.Errorf("%s: %v", h.name, err)
	}
	return a.Status
}

func record(t *testing.T) string { return filepath.Join(t.TempDir(), "etcd-lb1.added") }
