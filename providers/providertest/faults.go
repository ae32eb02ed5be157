package providertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
	"berth/providers"
)

// badManner is a fault of an answer, and the error that it must give.
type badManner struct {
	name   string
	fault  cloudsim.Fault
	status int // that the error must bear
	kind   providers.Kind
	// wait is what the error must have of Retry-After; a date has whole seconds.
	wait, waitSlack time.Duration
	hangs           bool // until the call's own timeout
	readsOnly       bool // a write that is answered so cannot be told from a good one
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
		badManner{name: "redirect to another host", fault: cloudsim.Fault{Kind: cloudsim.Redirect, Status: 308, Location: "http://192.0.2.250/"}, kind: providers.Transient, status: 308},
		badManner{name: "dropped connection", fault: cloudsim.Fault{Kind: cloudsim.Drop}, kind: providers.Transient},
		badManner{name: "response lost after it was carried out", fault: cloudsim.Fault{Kind: cloudsim.LostResponse}, kind: providers.Transient},
	)
}

// callTimeout is the most that a call may take, and sockTimeout how long a caller
// over a socket waits where a call hangs, so that the test need not wait longer.
const (
	callTimeout = 10 * time.Second
	sockTimeout = 50 * time.Millisecond
)

// faults runs each row against an observation and against a claim.
func (c Cloud) faults(t *testing.T) {
	for _, row := range table() {
		if row.fault.RetryAfter == "date" {
			// Written when the row runs: in virtual time it is another year.
			row.fault.RetryAfter = ""
			c.each(t, row.name, func(w *world) {
				row := row
				row.fault.RetryAfter = time.Now().Add(row.wait).UTC().Format(http.TimeFormat)
				w.observeWith(row)
			})
			continue
		}
		run := c.each
		if f := row.fault; f.Kind == cloudsim.Status && f.Form != cloudsim.FormDetail && f.Form != cloudsim.FormEcho && f.Form != "" {
			run = c.inProcess // the shape of an error's body does not depend on the way
		}
		run(t, row.name+"/observe", func(w *world) { w.observeWith(row) })
		if !row.readsOnly {
			run(t, row.name+"/claim", func(w *world) { w.claimWith(row) })
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

// observeWith observes while the cloud has a bad manner, and again after that.
func (w *world) observeWith(row badManner) {
	w.warm()
	w.sim.SetFaults(cloudsim.Faults{row.fault})
	if row.kind == providers.NotFound {
		row.kind = providers.Invalid // an observation is not about a single address
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
	if !w.paused(e) {
		return
	}
	got, err := w.observe(w.Addr)
	if err != nil || got[w.Addr].Kind != providers.Other {
		w.Errorf("after it: want another holder, got %+v, %v", got, err)
	}
}

// maxPause is the longest for which no request is made because an answer asked for
// that.
const maxPause = 10 * time.Minute

// paused proves that no request is made before the time that an error bears, and
// waits for that time where time is virtual; it reports whether the test can go on.
func (w *world) paused(e *providers.Error) bool {
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
		w.Errorf("want an error with the time that is left to wait, got %s", left)
	}
	w.wantKind(w.provider.Claim(w.Context(), w.Addr, Permit), providers.RateLimited)
	w.wantCalls(before)
	if !w.socket {
		time.Sleep(time.Millisecond)
	}
	return !w.socket
}

// claimWith claims while the cloud has a bad manner, and again after that.
func (w *world) claimWith(row badManner) {
	w.warm()
	row.fault.Method = w.WriteMethod
	w.sim.SetFaults(cloudsim.Faults{row.fault})
	if row.kind == providers.NotFound {
		row.kind = providers.Invalid // the address is listed, so that it is one of the account
	}
	e := w.attempt(row, func(ctx context.Context) error { return w.provider.Claim(ctx, w.Addr, Permit) })
	want := 1
	if row.status == 400 || row.status == 404 || row.status == 410 {
		want = 2 // the ids are looked up again, once
	}
	w.wantWrites(want)
	w.sim.SetFaults(nil)
	if !w.paused(e) {
		return
	}
	if err := w.provider.Claim(w.Context(), w.Addr, Permit); err != nil {
		w.Errorf("after it: %v", err)
	}
	if got := w.holder(w.Addr); got != w.Mine {
		w.Errorf("after it: want holder %s, got %s", w.Mine, got)
	}
}
