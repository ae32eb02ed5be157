package providertest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"berth/internal/cloudsim"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/providers"
)

// world is a provider with its simulator, over one of two ways between them.
type world struct {
	*testing.T
	Cloud
	sim      *cloudsim.Sim
	provider providers.Provider
	socket   bool
	log      *lockedBuffer
	secrets  *lockedSecrets
	count    *metrics.Registry
}

// lockedSecrets are credentials that can be changed while a provider uses them.
type lockedSecrets struct {
	mu sync.Mutex
	m  map[string]string // by key; a key that is not there is as in the section
}

func (s *lockedSecrets) resolve(key, inline, _, _ string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.m[key], inline), nil
}

func (s *lockedSecrets) set(m map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m = m
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// each runs a test body in-process, in virtual time, and over a socket.
func (c Cloud) each(t *testing.T, name string, body func(w *world)) {
	c.inProcess(t, name, body)
	c.overSocket(t, name, body)
}

func (c Cloud) inProcess(t *testing.T, name string, body func(w *world)) {
	t.Run(name+"/in-process", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{T: t, Cloud: c, sim: NewSim(t, c.Account())}
			w.start(providers.Deps{Transport: w.sim.RoundTripper()}, "http://cloud.invalid")
			body(w)
			w.keptSecrets(nil)
			time.Sleep(5 * time.Second) // the simulator carries out what was begun
		})
	})
}

func (c Cloud) overSocket(t *testing.T, name string, body func(w *world)) {
	t.Run(name+"/socket", func(t *testing.T) {
		w := &world{T: t, Cloud: c, sim: NewSim(t, c.Account()), socket: true}
		srv := httptest.NewServer(w.sim)
		defer srv.Close()
		defer srv.CloseClientConnections() // what still hangs there
		w.start(providers.Deps{MetadataURL: srv.URL}, srv.URL)
		body(w)
		w.keptSecrets(nil)
	})
}

// start makes the provider, with all that it says at debug level recorded.
func (w *world) start(d providers.Deps, endpoint string) {
	w.Helper()
	w.log, w.secrets, w.count = &lockedBuffer{}, &lockedSecrets{}, &metrics.Registry{}
	d.Metrics = providers.NewMetrics(w.count)
	d.Journal = journal.New(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(w.log), zap.DebugLevel)))
	d.RunDir = w.TempDir()
	d.Env = func(string) string { return "" }
	d.Hostname = func() (string, error) { return "lb1", nil }
	d.Secret = w.secrets.resolve
	w.provider = Client(w.T, w.Entry, d, w.Section(endpoint))
}

// warm lets the provider learn all ids, and forgets the calls for that.
func (w *world) warm() {
	w.Helper()
	if _, err := w.observe(w.Addr, w.Inside[0]); err != nil {
		w.Fatalf("warm up: %v", err)
	}
	w.sim.ClearHistory()
}

func (w *world) observe(addrs ...netip.Addr) (map[netip.Addr]providers.Holder, error) {
	return w.provider.Observe(w.Context(), addrs)
}

// calls returns the requests to the API, without those for metadata.
func (w *world) calls() []cloudsim.Request {
	var calls []cloudsim.Request
	for _, r := range w.sim.History() {
		if !r.Metadata {
			calls = append(calls, r)
		}
	}
	return calls
}

func (w *world) wantCalls(want int) {
	w.Helper()
	if calls := w.calls(); len(calls) != want {
		w.Errorf("calls: want %d, got %d: %+v", want, len(calls), calls)
	}
}

func (w *world) wantWrites(want int) {
	w.Helper()
	writes := 0
	for _, r := range w.calls() {
		if r.Write {
			writes++
		}
	}
	if writes != want {
		w.Errorf("writes: want %d, got %d: %+v", want, writes, w.calls())
	}
}

// holder returns the server that has the floating IP that addr is or lies in; if
// several have it, all of them.
func (w *world) holder(addr netip.Addr) string { return strings.Join(w.sim.Holders(addr), "+") }

// keptSecrets fails the test if an error, any link of its chain, the log or a
// metric shows a secret or a good part of one.
func (w *world) keptSecrets(err error) {
	w.Helper()
	texts := []string{w.log.String(), w.metrics()}
	for e := err; e != nil; e = errors.Unwrap(e) {
		texts = append(texts, e.Error(), fmt.Sprintf("%+v", e))
	}
	for _, text := range texts {
		for _, secret := range w.Secrets {
			for _, part := range []string{secret[:len(secret)/2], secret[len(secret)/2:]} {
				if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
					w.Errorf("secret shows in: %s", text)
				}
			}
		}
	}
}

func (w *world) metrics() string {
	w.Helper()
	var text strings.Builder
	if err := w.count.WriteText(&text); err != nil {
		w.Fatal(err)
	}
	return text.String()
}

// wantCounted fails the test if the metrics tell of another number of requests
// than the simulator, or of any that failed.
func (w *world) wantCounted() {
	w.Helper()
	sums := map[string]int{} // by class
	for line := range strings.Lines(w.metrics()) {
		var value int
		before, after, requests := strings.Cut(line, `class="`)
		if class, number, ok := strings.Cut(after, `"} `); ok && requests && strings.HasPrefix(before, "berth_provider_requests_total{") {
			if _, err := fmt.Sscan(number, &value); err != nil {
				w.Fatalf("%s: %v", line, err)
			}
			sums[class] += value
		}
	}
	want := map[string]int{"ok": len(w.sim.History())}
	maps.DeleteFunc(sums, func(_ string, n int) bool { return n == 0 })
	if !maps.Equal(want, sums) {
		w.Errorf("counted: want %v, got %v", want, sums)
	}
}

// wantKind fails the test if err is not an *Error of a kind that names provider and
// operation, once, and shows no secret.
func (w *world) wantKind(err error, want providers.Kind) *providers.Error {
	w.Helper()
	w.keptSecrets(err)
	e, ok := errors.AsType[*providers.Error](err)
	if !ok {
		w.Fatalf("want an *Error of kind %s, got %T %v", want, err, err)
	}
	if e.Kind != want {
		w.Errorf("kind: want %s, got %s: %v", want, e.Kind, e)
	}
	if e.Provider != w.Name || e.Op == "" || !strings.HasPrefix(err.Error(), w.Name+": "+e.Op+": ") {
		w.Errorf("want provider, operation and cause, got %q", err)
	}
	return e
}
