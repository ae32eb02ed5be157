package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/yaml.v3"

	"berth/internal/metrics"
	"berth/providers"
	"berth/providers/webhook"
	"berth/refresher"
	"berth/vrrp"
)

const secret = "a-very-secret-secret-3141592653"

var addr = netip.MustParseAddr("2001:db8::10")

func permit(context.Context) error { return nil }

// server answers in-process with what the function says.
type server func(*http.Request, string) (status int, header http.Header)

func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status, header := s(r, string(body))
	if status == 0 {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("no")), Request: r}, nil
}

func newClient(t *testing.T, transport http.RoundTripper, text string) providers.Provider {
	t.Helper()
	p, err := parse(transport, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func parse(transport http.RoundTripper, text string) (providers.Provider, error) {
	return parseCounting(transport, text, nil)
}

func parseCounting(transport http.RoundTripper, text string, m *providers.Metrics) (providers.Provider, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	return webhook.Entry.New(providers.Deps{Metrics: m,
		UserAgent: "berth/test", Transport: transport,
		Env:      func(string) string { return "" },
		Hostname: func() (string, error) { return "lb1.example.net", nil },
		Secret:   func(_, inline, _, _ string) (string, error) { return inline, nil },
	}, &doc)
}

const plain = "url: https://hooks.example.net/berth\nsecret: " + secret

func TestRequestIsSignedForTheReceiverToCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := newClient(t, server(func(r *http.Request, body string) (int, http.Header) {
			calls++
			want := `{"address":"2001:db8::10","host":"lb1.example.net","status":"` + []string{"activated", "deactivated"}[calls-1] + `"}`
			if r.Method != "POST" || r.URL.String() != "https://hooks.example.net/berth" || body != want {
				t.Errorf("want POST %s, got %s %s %s", want, r.Method, r.URL, body)
			}
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte("946684800." + body)) // a bubble begins at 2000-01-01
			for name, want := range map[string]string{
				"X-Berth-Webhook-Resource-Id": "2001:db8::10",
				"X-Berth-Webhook-Timestamp":   "946684800",
				"X-Berth-Webhook-Signature":   hex.EncodeToString(mac.Sum(nil)),
				"Content-Type":                "application/json",
				"User-Agent":                  "berth/test",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: want %s, got %s", name, want, got)
				}
			}
			return 204, nil
		}), plain)
		if err := p.Claim(t.Context(), addr, permit); err != nil {
			t.Error(err)
		}
		if err := p.(providers.Releaser).Release(t.Context(), addr, permit); err != nil {
			t.Error(err)
		}
		if calls != 2 {
			t.Errorf("calls: want 2, got %d", calls)
		}
	})
}

func TestRequestsAreCounted(t *testing.T) {
	r := &metrics.Registry{}
	p, err := parseCounting(server(func(*http.Request, string) (int, http.Header) { return 204, nil }), plain, providers.NewMetrics(r))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Claim(t.Context(), addr, permit); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if want := `berth_provider_responses_total{provider="webhook",status="204"} 1`; !strings.Contains(text.String(), want) {
		t.Errorf("want %s, got:\n%s", want, &text)
	}
}

func TestClaimIsRepeatedWhenTheIntervalIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newClient(t, server(func(*http.Request, string) (int, http.Header) { return 200, nil }), plain+"\nrepeat-interval: 90s")
		kind := func() providers.HolderKind {
			got, err := p.Observe(t.Context(), []netip.Addr{addr})
			if err != nil {
				t.Fatal(err)
			}
			return got[addr].Kind
		}
		steps := []struct {
			name string
			do   func()
			want providers.HolderKind
		}{
			{"before the claim", func() {}, providers.Nobody},
			{"after it", func() { p.Claim(t.Context(), addr, permit) }, providers.Mine},
			{"before the interval is over", func() { time.Sleep(90*time.Second - 1) }, providers.Mine},
			{"when it is over", func() { time.Sleep(time.Nanosecond) }, providers.Nobody},
			{"after a release", func() {
				p.Claim(t.Context(), addr, permit)
				p.(providers.Releaser).Release(t.Context(), addr, permit)
			}, providers.Nobody},
		}
		for _, s := range steps {
			s.do()
			if got := kind(); got != s.want {
				t.Errorf("%s: want kind %d, got %d", s.name, s.want, got)
			}
		}
	})
}

func TestAnswerThatIsNotASuccessIsToldAndNotRemembered(t *testing.T) {
	tests := []struct {
		name   string
		status int // 0: no answer
		header http.Header
		kind   providers.Kind
		want   string
	}{
		{"server error", 500, nil, providers.Transient, "HTTP status 500: no"},
		{"wrong signature", 403, nil, providers.Auth, "HTTP status 403"},
		{"not now", 429, http.Header{"Retry-After": {"7"}}, providers.RateLimited, "HTTP status 429"},
		{"never", 422, nil, providers.Invalid, "HTTP status 422"},
		{"redirect", 307, http.Header{"Location": {"https://elsewhere.example/"}}, providers.Transient, "redirect to elsewhere.example is not followed"},
		{"no answer", 0, nil, providers.Transient, "no answer in time"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				p := newClient(t, server(func(*http.Request, string) (int, http.Header) {
					calls++
					return tt.status, tt.header
				}), plain)
				start := time.Now()
				err := p.Claim(t.Context(), addr, permit)
				e, ok := errors.AsType[*providers.Error](err)
				if !ok || e.Kind != tt.kind || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("want a %s error with %q, got %v", tt.kind, tt.want, err)
				}
				if took := time.Since(start); took > 5*time.Second || calls != 1 {
					t.Errorf("want one call of 5 s at most, got %d in %s", calls, took)
				}
				if got, _ := p.Observe(t.Context(), []netip.Addr{addr}); got[addr].Kind != providers.Nobody {
					t.Errorf("want it to point nowhere, got %+v", got)
				}
			})
		})
	}
}

func TestRetryAfterBeyondAnyNumberCountsAsTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := newClient(t, server(func(*http.Request, string) (int, http.Header) {
			if calls++; calls == 1 {
				return 429, http.Header{"Retry-After": {"99999999999999999999"}}
			}
			return 200, nil
		}), plain)
		e, ok := errors.AsType[*providers.Error](p.Claim(t.Context(), addr, permit))
		if !ok || e.Kind != providers.RateLimited || e.Wait != 24*time.Hour {
			t.Fatalf("want to be told to wait a day, got %+v", e)
		}
		time.Sleep(10*time.Minute - time.Nanosecond)
		if err := p.Claim(t.Context(), addr, permit); err == nil || calls != 1 {
			t.Errorf("want no second call within ten minutes, got %d calls and %v", calls, err)
		}
		time.Sleep(time.Nanosecond)
		if err := p.Claim(t.Context(), addr, permit); err != nil || calls != 2 {
			t.Errorf("want a call after ten minutes, got %d calls and %v", calls, err)
		}
	})
}

func TestWithoutAPermitNothingIsTold(t *testing.T) {
	fenced := errors.New("fenced")
	p := newClient(t, server(func(*http.Request, string) (int, http.Header) {
		t.Error("want no call")
		return 200, nil
	}), plain)
	if err := p.Claim(t.Context(), addr, func(context.Context) error { return fenced }); err != fenced {
		t.Errorf("want the permit's own error, got %v", err)
	}
}

func TestConfiguredAuthorityIsTrusted(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "url: " + srv.URL + "\nsecret: " + secret
	if err := newClient(t, nil, text).Claim(t.Context(), addr, permit); err == nil {
		t.Error("without ca-file: want the certificate refused")
	}
	if err := newClient(t, nil, text+"\nca-file: "+file).Claim(t.Context(), addr, permit); err != nil {
		t.Errorf("with ca-file: %v", err)
	}
}

func TestWrongSectionsAreRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"no url", "secret: x", "webhook.url: missing; write the URL of a server of your own, such as https://hooks.example.net/berth"},
		{"no secret", "url: https://h/", "webhook.secret: missing; write secret or secret-file, or set the environment variable BERTH_WEBHOOK_SECRET"},
		{"url with a password", "url: https://u:p@h/\nsecret: x", "line 1: webhook.url: found a URL with a user or password; write a URL such as https://hooks.example.net/berth"},
		{"no interval", plain + "\nrepeat-interval: 5", "line 3: webhook.repeat-interval: found a number; write a duration with its unit, such as 30s or 1m30s"},
		{"interval of nothing", plain + "\nrepeat-interval: 0s", "line 3: webhook.repeat-interval: found 0s; write a longer duration, such as 30s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parse(nil, tt.text); err == nil || err.Error() != tt.want {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}

// answering is a server whose answer is a function of the request's URL.
type answering func(url string) (body string, err error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := a(r.URL.String())
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 500, Status: "500", Header: http.Header{"Content-Type": {"text/plain"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestKeysInTheURLAreNotShown(t *testing.T) {
	const key = "T0KENinTHEpath0123456789"
	for _, url := range []string{"https://hooks.example.net/" + key + "/x", "https://hooks.example.net/x?token=" + key} {
		for name, server := range map[string]answering{
			"an answer that repeats it": func(url string) (string, error) { return "no " + url, nil },
			"an error that repeats it":  func(url string) (string, error) { return "", errors.New("cannot reach " + url) },
		} {
			p := newClient(t, server, "url: "+url+"\nsecret: "+secret)
			if err := p.Claim(t.Context(), addr, permit); err == nil || strings.Contains(err.Error(), key) {
				t.Errorf("%s, %s: got %v", url, name, err)
			}
		}
	}
}

func TestAReceiverThatRefusesOnceCostsNoRefreshInterval(t *testing.T) {
	for _, refusal := range []int{400, 401, 403, 404, 410, 422} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var calls []time.Duration
			p := newClient(t, server(func(*http.Request, string) (int, http.Header) {
				calls = append(calls, time.Since(start))
				if len(calls) == 1 {
					return refusal, nil
				}
				return 204, nil
			}), plain)
			target := providers.NewAccount("webhook", p).Target(vrrp.FloatingIP{Prefix: netip.PrefixFrom(addr, 128)}, permit)
			defer target.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			loop := &refresher.Loop{Target: target, Policy: refresher.Policy{Interval: time.Minute, Timeout: 10 * time.Second,
				InitialInterval: time.Second, Multiplier: 1.1, MaxInterval: 10 * time.Second}}
			_ = loop.Run(ctx) // ends with ctx
			if len(calls) != 2 || calls[1] > 2*time.Second {
				t.Errorf("%d once: told at %v, want a second time soon", refusal, calls)
			}
		})
	}
}

// The secret signs and is not part of a header.
func TestSecretMayHoldAnyCharacter(t *testing.T) {
	const odd = "correct horse, battery stäple"
	var got string
	p := newClient(t, server(func(r *http.Request, body string) (int, http.Header) {
		mac := hmac.New(sha256.New, []byte(odd))
		mac.Write([]byte(r.Header.Get("X-Berth-Webhook-Timestamp") + "." + body))
		got = r.Header.Get("X-Berth-Webhook-Signature")
		if want := hex.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("signature: want %s, got %s", want, got)
		}
		return 204, nil
	}), "url: https://hooks.example.net/berth\nsecret: "+odd)
	if err := p.Claim(t.Context(), addr, permit); err != nil || got == "" {
		t.Errorf("want a signed request, got %q, %v", got, err)
	}
}
