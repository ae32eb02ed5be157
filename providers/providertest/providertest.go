// Package providertest is the conformance kit that every provider must pass: the
// whole table of bad manners that a cloud's API can have, played by the
// simulator, in-process in virtual time and over real sockets alike. It proves
// that each fault is told as what it is, in time and within the call budget;
// that the provider recovers as soon as the cloud does; and that no secret
// reaches an error or a log line, at debug level too.
package providertest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"gopkg.in/yaml.v3"

	"berth/internal/cloudsim"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/providers"
	"berth/vrrp"
)

// Cloud is what the kit has to know of a provider.
type Cloud struct {
	Name    string
	Entry   providers.Entry
	Secrets []string // that must never be seen
	// Section is the provider's section of the configuration for an endpoint
	// such as "http://127.0.0.1:8080".
	Section func(endpoint string) string
	// Sim makes the account that the fields below describe.
	Sim func(testing.TB) *cloudsim.Sim
	// Unfriendly makes the same account with all bad habits.
	Unfriendly func(t testing.TB, seed uint64) *cloudsim.Sim

	Mine, Peer string        // ids of this host, the simulator's first server, and of another one
	Addr       netip.Addr    // floating IP, with Peer at the start
	Inside     [2]netip.Addr // two addresses in a floating network, with Peer at the start
	Balanced   netip.Addr    // floating IP that a load balancer has
	Foreign    netip.Addr    // no floating IP of the account

	WriteMethod  string // of the requests that move
	ListPath     string // of the request that lists all floating IPs
	EmptyList    string // its answer when there are none
	MetadataPath string // of the requests to the metadata service
	// Additive tells that a floating IP can be with several servers at once, so that
	// a claim adds this host first and then removes the others.
	Additive bool
	// Rotate changes the account's credentials and returns the new ones, by their
	// keys in the section.
	Rotate func(*cloudsim.Sim) map[string]string

	// Budget: API calls of a first look at so many floating IPs that so many other
	// servers have, and of a claim when all that can be known is.
	ObserveCalls func(objects, others int) int
	ClaimCalls   int
	ClaimWrites  int // those of them that change something
}

// Run runs the whole kit.
func Run(t *testing.T, c Cloud) {
	t.Run("answers", func(t *testing.T) { c.answers(t) })
	t.Run("faults", func(t *testing.T) { c.faults(t) })
	t.Run("targets", func(t *testing.T) { c.targets(t) })
	t.Run("outages", func(t *testing.T) { c.outages(t) })
	t.Run("refusals", func(t *testing.T) { c.refusals(t) })
	t.Run("unfriendly", func(t *testing.T) { c.unfriendly(t) })
}

// permit lets every write pass.
func permit(context.Context) error { return nil }

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
	m  map[string]string // by key; what is not there is as in the section
}

func (s *lockedSecrets) resolve(key, inline string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.m[key], inline)
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
			w := &world{T: t, Cloud: c, sim: c.Sim(t)}
			w.start(providers.Deps{Transport: w.sim.RoundTripper()}, "http://cloud.invalid")
			body(w)
			w.keptSecrets(nil)
			time.Sleep(5 * time.Second) // the simulator carries out what was begun
		})
	})
}

func (c Cloud) overSocket(t *testing.T, name string, body func(w *world)) {
	t.Run(name+"/socket", func(t *testing.T) {
		w := &world{T: t, Cloud: c, sim: c.Sim(t), socket: true}
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
	d.Secret = func(key, inline, _, _ string) (string, error) { return w.secrets.resolve(key, inline), nil }
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(w.Section(endpoint)), &doc); err != nil {
		w.Fatal(err)
	}
	var err error
	if w.provider, err = w.Entry.New(d, &doc); err != nil {
		w.Fatal(err)
	}
}

// warm lets the provider learn all there is to know, and forgets what it cost.
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

// holder returns who has the floating IP that addr is or lies in; if there are
// several, all of them.
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

// answers is what a provider says while the cloud behaves.
func (c Cloud) answers(t *testing.T) {
	c.each(t, "one look tells who has each address", func(w *world) {
		if err := w.sim.Give(w.Addr, w.Mine); err != nil {
			w.Fatal(err)
		}
		addrs := []netip.Addr{w.Addr, w.Inside[0], w.Inside[1], w.Foreign}
		objects := 2
		want := map[netip.Addr]providers.HolderKind{
			w.Addr: providers.Mine, w.Inside[0]: providers.Other, w.Inside[1]: providers.Other, w.Foreign: providers.NotManaged}
		if w.Balanced.IsValid() {
			addrs = append(addrs, w.Balanced)
			want[w.Balanced] = providers.NotServer
			objects++
		}
		got, err := w.observe(addrs...)
		if err != nil {
			w.Fatal(err)
		}
		for _, a := range addrs {
			h, ok := got[a]
			if !ok || h.Kind != want[a] {
				w.Errorf("%s: want kind %d, got %+v (present: %v)", a, want[a], h, ok)
			}
			if named := h.Owner != ""; named != (h.Kind != providers.NotManaged) {
				w.Errorf("%s: owner named: %v for %+v", a, named, h)
			}
		}
		if !strings.Contains(got[w.Inside[0]].Owner, w.Peer) {
			w.Errorf("owner: want it to name %s, got %q", w.Peer, got[w.Inside[0]].Owner)
		}
		if got[w.Inside[0]].Object != got[w.Inside[1]].Object {
			w.Errorf("two addresses of one network have two objects: %+v", got)
		}
		w.wantCalls(w.ObserveCalls(objects, 1))
	})
	c.each(t, "each request is counted, those for metadata too", func(w *world) {
		if _, err := w.observe(w.Addr, w.Inside[0]); err != nil {
			w.Fatal(err)
		}
		if err := w.provider.Claim(w.Context(), w.Addr, permit); err != nil {
			w.Fatal(err)
		}
		w.wantCounted()
	})
	c.each(t, "credentials that were rotated are read again at once", func(w *world) {
		w.warm()
		w.secrets.set(w.Rotate(w.sim))
		got, err := w.observe(w.Addr)
		if err != nil || got[w.Addr].Kind != providers.Other {
			w.Errorf("look: want another holder, got %+v, %v", got, err)
		}
		w.secrets.set(w.Rotate(w.sim))
		if err := w.provider.Claim(w.Context(), w.Addr, permit); err != nil || w.holder(w.Addr) != w.Mine {
			w.Errorf("claim: want %s, got %s, %v", w.Mine, w.holder(w.Addr), err)
		}
		refused := 0
		for _, r := range w.calls() {
			if !r.Token {
				refused++
			}
		}
		if refused != 2 {
			w.Errorf("want one refusal for each change, got %d: %+v", refused, w.calls())
		}
	})
	c.each(t, "without a permit nothing is written", func(w *world) {
		w.warm()
		reason := errors.New("fenced")
		if err := w.provider.Claim(w.Context(), w.Addr, func(context.Context) error { return reason }); err != reason {
			w.Errorf("want the permit's own error, got %v", err)
		}
		w.wantWrites(0)
	})
	c.each(t, "the permit is asked for before each write", func(w *world) {
		for allowed := range w.ClaimWrites {
			asked := 0
			reason := errors.New("fenced")
			err := w.provider.Claim(w.Context(), w.Addr, func(context.Context) error {
				if asked++; asked > allowed {
					return reason
				}
				return nil
			})
			if !errors.Is(err, reason) {
				w.Errorf("permit for %d writes: want its error, got %v", allowed, err)
			}
			w.wantWrites(allowed)
			w.sim.ClearHistory()
			if err := w.sim.Give(w.Addr, w.Peer); err != nil {
				w.Fatal(err)
			}
		}
	})
	c.each(t, "a claim moves with everything known", func(w *world) {
		w.warm()
		for _, a := range []netip.Addr{w.Addr, w.Inside[1]} {
			if err := w.provider.Claim(w.Context(), a, permit); err != nil {
				w.Fatal(err)
			}
			if got := w.holder(a); got != w.Mine {
				w.Errorf("holder of %s: want %s, got %s", a, w.Mine, got)
			}
		}
		w.wantCalls(2 * w.ClaimCalls)
	})
	c.each(t, "a claim moves with nothing known", func(w *world) {
		if err := w.provider.Claim(w.Context(), w.Addr, permit); err != nil {
			w.Fatal(err)
		}
		if got := w.holder(w.Addr); got != w.Mine {
			w.Errorf("holder: want %s, got %s", w.Mine, got)
		}
		w.wantCalls(1 + w.ClaimCalls) // one to look up
	})
	c.each(t, "a claim is idempotent", func(w *world) {
		for range 2 {
			if err := w.provider.Claim(w.Context(), w.Addr, permit); err != nil {
				w.Fatal(err)
			}
		}
		if got := w.holder(w.Addr); got != w.Mine {
			w.Errorf("holder: want %s, got %s", w.Mine, got)
		}
	})
	c.each(t, "a foreign address is not found and nothing is written", func(w *world) {
		err := w.provider.Claim(w.Context(), w.Foreign, permit)
		w.wantKind(err, providers.NotFound)
		if err != nil && !strings.Contains(err.Error(), w.Foreign.String()) {
			w.Errorf("want the address named, got %q", err)
		}
		w.wantWrites(0)
	})
	c.each(t, "this host is known to the provider", func(w *world) {
		got, err := w.provider.Self(w.Context())
		want := providers.Server{ID: w.Mine, Name: "lb1"}
		if err != nil || got != want {
			w.Errorf("want %+v, got %+v, %v", want, got, err)
		}
	})
	c.each(t, "unknown and repeated fields and a wrong content type do not matter", func(w *world) {
		w.sim.SetFaults(cloudsim.Faults{{Kind: cloudsim.UnknownFields}, {Kind: cloudsim.WrongContentType}})
		got, err := w.observe(w.Addr)
		if err != nil || got[w.Addr].Kind != providers.Other {
			w.Errorf("want another holder, got %+v, %v", got, err)
		}
		if err := w.provider.Claim(w.Context(), w.Addr, permit); err != nil || w.holder(w.Addr) != w.Mine {
			w.Errorf("want a claim, got %v with holder %s", err, w.holder(w.Addr))
		}
	})
	c.each(t, "a call that was broken off is known as such", func(w *world) {
		w.warm()
		reason := errors.New("demoted")
		ctx, cancel := context.WithCancelCause(w.Context())
		hold := w.sim.Hold("", "/")
		result := make(chan error, 2)
		go func() { result <- w.provider.Claim(ctx, w.Addr, permit) }()
		go func() {
			_, err := w.provider.Observe(ctx, []netip.Addr{w.Addr})
			result <- err
		}()
		for range 2 {
			if _, err := hold.Wait(w.Context()); err != nil {
				w.Fatal(err)
			}
		}
		start := time.Now()
		cancel(reason)
		for range 2 {
			err := <-result
			if !errors.Is(err, context.Canceled) || !errors.Is(err, reason) {
				w.Errorf("want an error that is context.Canceled and the cause, got %v", err)
			}
			w.keptSecrets(err)
		}
		if took := time.Since(start); took > 100*time.Millisecond {
			w.Errorf("took %s to end after its context", took)
		}
		hold.Release()
		if err := w.provider.Claim(ctx, w.Addr, permit); !errors.Is(err, context.Canceled) {
			w.Errorf("with an ended context: want context.Canceled, got %v", err)
		}
		w.wantCalls(2)
	})
}

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

// badManner is a row of the table.
type badManner struct {
	name   string
	fault  cloudsim.Fault
	status int // that the error must bear
	kind   providers.Kind
	// wait is what Retry-After must come to; a date has whole seconds.
	wait, waitSlack time.Duration
	hangs           bool // until the call's own timeout
	readsOnly       bool // a write cannot be told from a good one, or is none
}

// statuses and what each means.
var statuses = map[int]providers.Kind{
	400: providers.Invalid, 401: providers.Auth, 402: providers.Invalid, 403: providers.Auth, 404: providers.NotFound,
	405: providers.Invalid, 406: providers.Invalid, 407: providers.Auth, 408: providers.Transient, 409: providers.Transient,
	410: providers.NotFound, 411: providers.Invalid, 413: providers.Invalid, 415: providers.Invalid, 418: providers.Invalid,
	422: providers.Invalid, 423: providers.Transient, 425: providers.Transient, 429: providers.RateLimited, 431: providers.Invalid,
	451: providers.Invalid, 499: providers.Invalid, 500: providers.Transient, 501: providers.Transient, 502: providers.Transient,
	503: providers.Transient, 504: providers.Transient, 520: providers.Transient, 599: providers.Transient, 700: providers.Transient,
}

var forms = []cloudsim.Form{cloudsim.FormDetail, cloudsim.FormField, cloudsim.FormNested, cloudsim.FormObject, cloudsim.FormList,
	cloudsim.FormText, cloudsim.FormHTML, cloudsim.FormEmpty, cloudsim.FormEcho}

func table() []badManner {
	var rows []badManner
	for status, kind := range statuses {
		for _, form := range forms {
			rows = append(rows, badManner{
				name:  fmt.Sprintf("status %d with body %s", status, form),
				fault: cloudsim.Fault{Kind: cloudsim.Status, Status: status, Form: form}, status: status, kind: kind})
		}
	}
	after := func(name string, status int, header string, kind providers.Kind, wait, slack time.Duration) {
		rows = append(rows, badManner{name: name, kind: kind, wait: wait, waitSlack: slack, status: status,
			fault: cloudsim.Fault{Kind: cloudsim.Status, Status: status, RetryAfter: header}})
	}
	after("429 with seconds to wait", 429, "7", providers.RateLimited, 7*time.Second, 0)
	after("503 with seconds to wait", 503, "7", providers.RateLimited, 7*time.Second, 0)
	after("503 with no seconds to wait", 503, "0", providers.RateLimited, 0, 0)
	after("429 with a date to wait for", 429, "date", providers.RateLimited, time.Hour, 2*time.Second)
	after("429 with a date gone by", 429, "Sun, 06 Nov 1994 08:49:37 GMT", providers.RateLimited, 0, 0)
	after("429 with an age to wait", 429, "99999999999999999999", providers.RateLimited, 24*time.Hour, 0)
	after("503 with an age to wait", 503, strings.Repeat("9", 400), providers.RateLimited, 24*time.Hour, 0)
	after("429 with a year to wait", 429, "31536000", providers.RateLimited, 24*time.Hour, 0)
	after("429 with nonsense to wait for", 429, "soon", providers.RateLimited, 0, 0)
	after("503 with nonsense to wait for", 503, "-3", providers.Transient, 0, 0)
	return append(rows,
		badManner{name: "hang before headers", fault: cloudsim.Fault{Kind: cloudsim.HangBeforeHeaders}, kind: providers.Transient, hangs: true},
		badManner{name: "hang after headers", fault: cloudsim.Fault{Kind: cloudsim.HangAfterHeaders}, kind: providers.Transient, status: 200, hangs: true, readsOnly: true},
		badManner{name: "cut body", fault: cloudsim.Fault{Kind: cloudsim.CutBody}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "garbage", fault: cloudsim.Fault{Kind: cloudsim.Garbage}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "empty body", fault: cloudsim.Fault{Kind: cloudsim.EmptyBody}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "null", fault: cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Body: "null"}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "object in place of a list", fault: cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Body: "{}"}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "list of empty objects", fault: cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Body: "[{}]"}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "list of texts", fault: cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Body: `["x"]`}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "page of a captive portal", fault: cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Form: cloudsim.FormHTML}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "credentials in place of a list", fault: cloudsim.Fault{Kind: cloudsim.Status, Status: 200, Form: cloudsim.FormEcho}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "body without end", fault: cloudsim.Fault{Kind: cloudsim.Huge}, kind: providers.Transient, status: 200, readsOnly: true},
		badManner{name: "page of a broken proxy", fault: cloudsim.Fault{Kind: cloudsim.HTML}, kind: providers.Transient, status: 502},
		badManner{name: "redirect", fault: cloudsim.Fault{Kind: cloudsim.Redirect}, kind: providers.Transient, status: 302},
		badManner{name: "redirect that keeps the method", fault: cloudsim.Fault{Kind: cloudsim.Redirect, Status: 307}, kind: providers.Transient, status: 307},
		badManner{name: "redirect to somebody else", fault: cloudsim.Fault{Kind: cloudsim.Redirect, Status: 308, Location: "http://192.0.2.250/"}, kind: providers.Transient, status: 308},
		badManner{name: "dropped connection", fault: cloudsim.Fault{Kind: cloudsim.Drop}, kind: providers.Transient},
		badManner{name: "response lost after it was carried out", fault: cloudsim.Fault{Kind: cloudsim.LostResponse}, kind: providers.Transient},
	)
}

// callTimeout is the most that a call may take, and sockTimeout what a caller
// over a socket waits where a call hangs, so that the test need not.
const (
	callTimeout = 10 * time.Second
	sockTimeout = 50 * time.Millisecond
)

// faults runs each row against a look and against a claim.
func (c Cloud) faults(t *testing.T) {
	for _, row := range table() {
		if row.fault.RetryAfter == "date" {
			// Written when the row runs: in virtual time it is another year.
			row.fault.RetryAfter = ""
			c.each(t, row.name, func(w *world) {
				row := row
				row.fault.RetryAfter = time.Now().Add(row.wait).UTC().Format(http.TimeFormat)
				w.look(row)
			})
			continue
		}
		run := c.each
		if f := row.fault; f.Kind == cloudsim.Status && f.Form != cloudsim.FormDetail && f.Form != cloudsim.FormEcho && f.Form != "" {
			run = c.inProcess // the shape of an error's body does not depend on the way
		}
		run(t, row.name+"/look", func(w *world) { w.look(row) })
		if !row.readsOnly {
			run(t, row.name+"/claim", func(w *world) { w.claim(row) })
		}
	}
}

// attempt makes one call and returns its error, which must come in time.
func (w *world) attempt(row badManner, call func(context.Context) error) *providers.Error {
	w.Helper()
	ctx := w.Context()
	if row.hangs && w.socket {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, sockTimeout)
		defer cancel()
	}
	start := time.Now()
	err := call(ctx)
	took := time.Since(start)
	e := w.wantKind(err, row.kind)
	if took > callTimeout {
		w.Errorf("took %s, which is longer than a call may", took)
	}
	if row.hangs && !errors.Is(err, context.DeadlineExceeded) {
		w.Errorf("want the deadline, got %v", err)
	}
	if e.Status != row.status {
		w.Errorf("status: want %d, got %d: %v", row.status, e.Status, e)
	}
	if e.Wait > row.wait+row.waitSlack || e.Wait < row.wait-row.waitSlack {
		w.Errorf("wait: want %s, got %s", row.wait, e.Wait)
	}
	if text := err.Error(); strings.ContainsAny(text, "\r\n\x00\x1b") || strings.Contains(text, "<h") || len(text) > 500 {
		w.Errorf("want one short line without markup, got %q", text)
	}
	for _, r := range w.calls() {
		if strings.Contains(r.Path, "elsewhere") {
			w.Errorf("redirect was followed: %+v", r)
		}
	}
	return e
}

func (w *world) look(row badManner) {
	w.warm()
	w.sim.SetFaults(cloudsim.Faults{row.fault})
	if row.kind == providers.NotFound {
		row.kind = providers.Invalid // a look is about no single address
	}
	e := w.attempt(row, func(ctx context.Context) error {
		_, err := w.provider.Observe(ctx, []netip.Addr{w.Addr})
		return err
	})
	if !w.socket || (row.fault.Kind != cloudsim.Drop && row.fault.Kind != cloudsim.LostResponse) {
		// Over a reused connection net/http may ask a second time for a read.
		w.wantCalls(1)
	}
	w.sim.SetFaults(nil)
	if !w.leftAlone(e) {
		return
	}
	got, err := w.observe(w.Addr)
	if err != nil || got[w.Addr].Kind != providers.Other {
		w.Errorf("after it: want another holder, got %+v, %v", got, err)
	}
}

// maxPause is the longest that an account is left alone for an answer's sake.
const maxPause = 10 * time.Minute

// leftAlone proves that nothing is asked before the time that an error bears, and
// waits for that where time is virtual; it reports whether the test can go on.
func (w *world) leftAlone(e *providers.Error) bool {
	w.Helper()
	if e.Wait == 0 {
		return true
	}
	before := len(w.calls())
	if !w.socket {
		time.Sleep(min(e.Wait, maxPause) - time.Millisecond)
	}
	_, err := w.observe(w.Inside[0])
	if left := w.wantKind(err, providers.RateLimited).Wait; left <= 0 || left > min(e.Wait, maxPause) {
		w.Errorf("want an error that bears what is left to wait, got %s", left)
	}
	w.wantKind(w.provider.Claim(w.Context(), w.Addr, permit), providers.RateLimited)
	w.wantCalls(before)
	if !w.socket {
		time.Sleep(time.Millisecond)
	}
	return !w.socket
}

func (w *world) claim(row badManner) {
	w.warm()
	row.fault.Method = w.WriteMethod
	w.sim.SetFaults(cloudsim.Faults{row.fault})
	if row.kind == providers.NotFound {
		row.kind = providers.Invalid // the address is listed, so that it is one of the account
	}
	e := w.attempt(row, func(ctx context.Context) error { return w.provider.Claim(ctx, w.Addr, permit) })
	want := 1
	if row.status == 400 || row.status == 404 || row.status == 410 {
		want = 2 // what was known is looked up again, once
	}
	w.wantWrites(want)
	w.sim.SetFaults(nil)
	if !w.leftAlone(e) {
		return
	}
	if err := w.provider.Claim(w.Context(), w.Addr, permit); err != nil {
		w.Errorf("after it: %v", err)
	}
	if got := w.holder(w.Addr); got != w.Mine {
		w.Errorf("after it: want holder %s, got %s", w.Mine, got)
	}
}

// targets runs faults that show only over several calls.
func (c Cloud) targets(t *testing.T) {
	type result struct {
		previous string // part of it
		changed  bool
		kind     providers.Kind // of the error, "" for none
	}
	rows := []struct {
		name   string
		faults cloudsim.Faults
		first  bool     // the first Ensure claims first
		want   []result // of one Ensure after the other
		// additive is what differs where a claim has several steps, nil for nothing.
		additive []result
	}{
		{"a claim is read back", nil, true, []result{{"", true, ""}, {"", false, ""}}, nil},
		{"what is elsewhere is fetched, and by whom it was held is told", nil, false, []result{{c.Peer, true, ""}, {"", false, ""}}, nil},
		{"response lost after the write", cloudsim.Faults{{Kind: cloudsim.LostResponse, Method: c.WriteMethod, Count: 1}}, true,
			[]result{{"", false, providers.Transient}, {"", false, ""}},
			[]result{{"", false, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}}},
		{"accepted, never carried out", cloudsim.Faults{{Kind: cloudsim.AcceptedOnly, Count: 1}}, true,
			[]result{{"", true, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}},
			[]result{{"", false, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}}},
		{"stale read after the write", cloudsim.Faults{{Kind: cloudsim.Stale, Count: 1}}, true,
			[]result{{"", true, providers.Transient}, {"", false, ""}},
			[]result{{"", true, ""}, {"", false, ""}}},
		{"stale reads for longer", cloudsim.Faults{{Kind: cloudsim.Stale, Count: 3}}, true,
			[]result{{"", true, providers.Transient}, {c.Peer, true, providers.Transient}, {"", false, ""}},
			[]result{}},
		{"write refused once for what was known", cloudsim.Faults{{Kind: cloudsim.Status, Status: 404, Method: c.WriteMethod, Count: 1}}, true,
			[]result{{"", true, ""}, {"", false, ""}}, nil},
		{"read back fails", cloudsim.Faults{{Kind: cloudsim.Status, Status: 500, Method: "GET", Count: 1}}, true,
			[]result{{"", true, providers.Transient}, {"", false, ""}},
			[]result{{"", false, providers.Transient}, {c.Peer, true, ""}, {"", false, ""}}},
		{"everything fails for a while", cloudsim.Faults{{Kind: cloudsim.Drop, Count: 3}}, true,
			[]result{{"", false, providers.Transient}, {"", false, providers.Transient}, {"", false, providers.Transient}, {c.Peer, true, ""}}, nil},
	}
	for _, row := range rows {
		if c.Additive && row.additive != nil {
			row.want = row.additive
		}
		if len(row.want) == 0 {
			continue // depends on how many reads a look has
		}
		body := func(w *world) {
			w.warm()
			account := providers.NewAccount(w.Name, w.provider)
			target := account.Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(w.Addr, w.Addr.BitLen())}, permit)
			defer target.Close()
			w.sim.SetFaults(row.faults)
			first := row.first
			for i, want := range row.want {
				if i > 0 && !w.socket {
					time.Sleep(2 * time.Second) // virtual: the snapshot has grown old
				}
				previous, changed, err := target.Ensure(w.Context(), first)
				first = false
				kind := providers.Kind("")
				if err != nil {
					kind = w.wantKind(err, want.kind).Kind
				}
				if kind != want.kind || changed != want.changed || (previous == "") != (want.previous == "") || !strings.Contains(previous, want.previous) {
					w.Errorf("step %d: want %+v, got previous %q, changed %v, error %v", i+1, want, previous, changed, err)
				}
			}
			if got := w.holder(w.Addr); got != w.Mine {
				w.Errorf("holder: want %s, got %s", w.Mine, got)
			}
			moves := 0
			for _, r := range w.calls() {
				if r.Applied {
					moves++
				}
			}
			if moves != w.ClaimWrites {
				w.Errorf("moves: want %d, got %d: %+v", w.ClaimWrites, moves, w.calls())
			}
		}
		run := c.each
		if slices.ContainsFunc(row.faults, func(f cloudsim.Fault) bool { return f.Kind == cloudsim.Drop }) {
			run = c.inProcess // over a reused connection net/http asks a second time for a read
		}
		run(t, row.name, body)
	}
}
