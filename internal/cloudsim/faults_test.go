package cloudsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
)

func TestFaultsStrikeAlikeInBothWorlds(t *testing.T) {
	const list = "/v1/floating-ips"
	tests := []struct {
		name       string
		fault      cloudsim.Fault
		method     string
		wantStatus int    // 0: an error
		wantBody   string // part of it
		wantErr    bool   // while asking or reading
		wantMoved  bool   // a PATCH took effect
	}{
		{"status with detail", cloudsim.Fault{Kind: cloudsim.Status, Status: 503}, "PATCH", 503, `{"detail":"`, false, false},
		{"status with nested field", cloudsim.Fault{Kind: cloudsim.Status, Status: 400, Form: cloudsim.FormNested}, "PATCH", 400, `{"server":["`, false, false},
		{"status with a list", cloudsim.Fault{Kind: cloudsim.Status, Status: 400, Form: cloudsim.FormList}, "GET", 400, `["`, false, false},
		{"status with nothing", cloudsim.Fault{Kind: cloudsim.Status, Status: 500, Form: cloudsim.FormEmpty}, "GET", 500, "", false, false},
		{"status with the credentials", cloudsim.Fault{Kind: cloudsim.Status, Status: 400, Form: cloudsim.FormEcho}, "GET", 400, token, false, false},
		{"page of a proxy", cloudsim.Fault{Kind: cloudsim.HTML}, "PATCH", 502, "<html>", false, false},
		{"garbage", cloudsim.Fault{Kind: cloudsim.Garbage}, "GET", 200, "garbage", false, false},
		{"empty body", cloudsim.Fault{Kind: cloudsim.EmptyBody}, "GET", 200, "", false, false},
		{"redirect", cloudsim.Fault{Kind: cloudsim.Redirect}, "PATCH", 302, "", false, false},
		{"wrong content type", cloudsim.Fault{Kind: cloudsim.WrongContentType}, "GET", 200, "192.0.2.10", false, false},
		{"cut body", cloudsim.Fault{Kind: cloudsim.CutBody}, "GET", 200, `[{"`, true, false},
		{"cut body of a write", cloudsim.Fault{Kind: cloudsim.CutBody}, "PATCH", 200, `{`, true, true},
		{"dropped connection", cloudsim.Fault{Kind: cloudsim.Drop}, "PATCH", 0, "", true, false},
		{"lost response", cloudsim.Fault{Kind: cloudsim.LostResponse}, "PATCH", 0, "", true, true},
		{"accepted, never done", cloudsim.Fault{Kind: cloudsim.AcceptedOnly}, "PATCH", 204, "", false, false},
		{"unknown fields", cloudsim.Fault{Kind: cloudsim.UnknownFields}, "GET", 200, "x_number", false, false},
		{"another method", cloudsim.Fault{Kind: cloudsim.Drop, Method: "GET"}, "PATCH", 204, "", false, true},
		{"another path", cloudsim.Fault{Kind: cloudsim.Drop, Path: "/v1/servers"}, "PATCH", 204, "", false, true},
		{"over by now", cloudsim.Fault{Kind: cloudsim.Drop, Until: time.Now()}, "PATCH", 204, "", false, true},
	}
	for _, tt := range tests {
		for i, name := range []string{"socket", "in-process"} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				s := newSim(t, tt.fault)
				w := worlds(t, s)[i]
				path, body := list, ""
				if tt.method == "PATCH" {
					path, body = list+"/192.0.2.10", `{"server":"`+lb1+`"}`
				}
				resp, got, err := do(t.Context(), w, tt.method, path, body)
				if (err != nil) != tt.wantErr {
					t.Fatalf("want error %v, got %v", tt.wantErr, err)
				}
				status := 0
				if resp != nil {
					status = resp.StatusCode
				}
				if status != tt.wantStatus || !strings.Contains(got, tt.wantBody) {
					t.Errorf("want %d with %q, got %d with %q", tt.wantStatus, tt.wantBody, status, got)
				}
				if moved := s.Holder(v4) == lb1; moved != tt.wantMoved {
					t.Errorf("moved: want %v, got %v", tt.wantMoved, moved)
				}
				h := s.History()
				if len(h) != 1 || h[0].Applied != tt.wantMoved || h[0].Write != (tt.method == "PATCH") || !h[0].Token {
					t.Errorf("history does not tell it: %+v", h)
				}
			})
		}
	}
}

func TestHangsUntilTheClientGoes(t *testing.T) {
	for _, kind := range []cloudsim.Kind{cloudsim.HangBeforeHeaders, cloudsim.HangAfterHeaders} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, cloudsim.Fault{Kind: kind})
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			start := time.Now()
			_, _, err := do(ctx, world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}, "GET", "/v1/floating-ips", "")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: want the deadline, got %v", kind, err)
			}
			if took := time.Since(start); took != 7*time.Second {
				t.Errorf("%s: want 7s, got %s", kind, took)
			}
		})
	}
}

func TestSlowRequestIsCarriedOutThoughItsClientLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, cloudsim.Fault{Kind: cloudsim.Slow, Latency: 2 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := do(ctx, world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}, "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"`+lb1+`"}`)
		if err == nil {
			t.Error("want an error after a second, got none")
		}
		if got := s.Holder(v4); got != lb2 {
			t.Errorf("holder after 1s: want %s, got %s", lb2, got)
		}
		time.Sleep(1001 * time.Millisecond)
		if got := s.Holder(v4); got != lb1 {
			t.Errorf("holder after 2s: want %s, got %s", lb1, got)
		}
	})
}

func TestCountedFaultsRunOut(t *testing.T) {
	s := newSim(t,
		cloudsim.Fault{Kind: cloudsim.Slow, Latency: time.Nanosecond},
		cloudsim.Fault{Kind: cloudsim.Drop, Count: 2},
		cloudsim.Fault{Kind: cloudsim.Status, Status: 429, RetryAfter: "7", Count: 1})
	w := world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}
	var got []string
	for range 4 {
		resp, _, err := do(t.Context(), w, "GET", "/v1/floating-ips", "")
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			got = append(got, "dropped")
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, resp.Status+resp.Header.Get("Retry-After"))
		}
	}
	want := []string{"dropped", "dropped", "429 Too Many Requests7", "200 OK"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
	if d := cmp.Diff(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: time.Nanosecond}}, s.Faults()); d != "" {
		t.Errorf("faults left, want-, got+:\n%s", d)
	}
}

func TestChanceRepeatsWithItsSeed(t *testing.T) {
	run := func() (pattern string) {
		s := newSim(t, cloudsim.Fault{Kind: cloudsim.Drop, Probability: 0.5})
		w := world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}
		for range 32 {
			if _, _, err := do(t.Context(), w, "GET", "/v1/floating-ips", ""); err != nil {
				pattern += "x"
			} else {
				pattern += "."
			}
		}
		return pattern
	}
	first, second := run(), run()
	if first != second || !strings.Contains(first, "x") || !strings.Contains(first, ".") {
		t.Errorf("want the same mixture twice, got %s and %s", first, second)
	}
}

func TestStaleReadsShowTheStateBeforeTheMove(t *testing.T) {
	s := newSim(t, cloudsim.Fault{Kind: cloudsim.Stale, Count: 2})
	w := world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}
	if err := s.Assign(v4, lb1); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		_, body, err := do(t.Context(), w, "GET", "/v1/floating-ips/192.0.2.10", "")
		if err != nil {
			t.Fatal(err)
		}
		var ip struct{ Server struct{ UUID string } }
		if err := json.Unmarshal([]byte(body), &ip); err != nil {
			t.Fatal(err)
		}
		got = append(got, ip.Server.UUID)
	}
	if d := cmp.Diff([]string{lb2, lb2, lb1}, got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
}

func TestRequestAtAGateWaitsForItsRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		gate := s.Gate("PATCH", "/v1/floating-ips/")
		done := make(chan error, 1)
		go func() {
			_, _, err := do(t.Context(), world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}, "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"`+lb1+`"}`)
			done <- err
		}()
		r, err := gate.Wait(t.Context())
		if err != nil || r.Method != "PATCH" {
			t.Fatalf("want the held PATCH, got %+v, %v", r, err)
		}
		synctest.Wait()
		if got := s.Holder(v4); got != lb2 {
			t.Errorf("holder while the gate is shut: want %s, got %s", lb2, got)
		}
		gate.Release()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := s.Holder(v4); got != lb1 {
			t.Errorf("holder when the gate is open: want %s, got %s", lb1, got)
		}
	})
}

func FuzzFaultJSON(f *testing.F) {
	f.Add([]byte(`{"kind":"status","status":429,"retry_after":"5","count":1,"latency":"1ms","until":"2026-11-21T12:00:00Z"}`))
	f.Add([]byte(`{"kind":"slow","probability":0.5,"for":"1h"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var fault, again cloudsim.Fault
		if json.Unmarshal(b, &fault) != nil {
			return
		}
		text, err := json.Marshal(fault)
		if err != nil {
			return // a year that JSON cannot have
		}
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%s does not read back: %v", text, err)
		}
		if d := cmp.Diff(fault, again, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
			t.Errorf("%s: want-, got+:\n%s", text, d)
		}
	})
}
