package health_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/health"
)

// look runs a check once and returns its reason. The time of a run is long, for a busy
// machine; where the check is expected to use it up, it is short.
func look(t *testing.T, check health.Check) string { return within(t, check, 20*time.Second) }

const brief = 500 * time.Millisecond

func timeFor(want string) time.Duration {
	if strings.Contains(want, "timed out") {
		return brief
	}
	return 20 * time.Second
}

func within(t *testing.T, check health.Check, d time.Duration) string {
	t.Helper()
	o := options(check)
	o.Timeout = d
	if err := health.New(o).Once(t.Context()); err != nil {
		return err.Error()
	}
	return ""
}

func get(url string) health.HTTP {
	return health.HTTP{URL: url, Method: http.MethodGet, Codes: [][2]int{{200, 299}}}
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("all is well\n")) })
	mux.HandleFunc("/500", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "S3CRET", http.StatusInternalServerError) })
	mux.HandleFunc("/204", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ok", http.StatusFound) })
	mux.HandleFunc("/circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/circle", http.StatusFound) })
	mux.HandleFunc("/method", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", r.Method); w.WriteHeader(299) })
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "api.example.com" || r.Header.Get("Authorization") != "Bearer S3CRET" || r.Header.Get("User-Agent") != "berth-health" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		for range 64 {
			if _, err := w.Write([]byte(strings.Repeat("x", 32<<10))); err != nil {
				return
			}
		}
		_, _ = w.Write([]byte("needle"))
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("12345"))
	})
	mux.HandleFunc("/hang", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/hang-in-body", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("well"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	with := func(path string, change func(*health.HTTP)) health.HTTP {
		h := get(server.URL + path)
		if change != nil {
			change(&h)
		}
		return h
	}
	for _, tt := range []struct {
		name  string
		check health.HTTP
		want  string // a regular expression; "" for well
	}{
		{"well", with("/ok", nil), ""},
		{"any code of the range", with("/204", nil), ""},
		{"server error, whose body is not repeated", with("/500", nil), "^HTTP status 500$"},
		{"server error that is expected", with("/500", func(h *health.HTTP) { h.Codes = [][2]int{{200, 200}, {500, 500}} }), ""},
		{"code outside of a list", with("/204", func(h *health.HTTP) { h.Codes = [][2]int{{200, 200}, {206, 299}} }), "^HTTP status 204$"},
		{"redirect", with("/moved", nil), "^HTTP status 302$"},
		{"redirect that is followed", with("/moved", func(h *health.HTTP) { h.FollowRedirects = true }), ""},
		{"redirect that never ends", with("/circle", func(h *health.HTTP) { h.FollowRedirects = true }), "^more than 10 redirects$"},
		{"contains", with("/ok", func(h *health.HTTP) { h.Contains = "is well" }), ""},
		{"does not contain", with("/ok", func(h *health.HTTP) { h.Contains = "is ill" }), `^HTTP status 200, and the text of contains is not in the body \(bytes: 12\)$`},
		{"matches", with("/ok", func(h *health.HTTP) { h.Matches = regexp.MustCompile(`^all .* well\s$`) }), ""},
		{"does not match", with("/ok", func(h *health.HTTP) { h.Matches = regexp.MustCompile(`^well`) }), "does not match the expression of matches$"},
		{"other method", with("/method", func(h *health.HTTP) { h.Method = http.MethodPost }), ""},
		{"HEAD", with("/ok", func(h *health.HTTP) { h.Method = http.MethodHead }), ""},
		{"headers", with("/headers", func(h *health.HTTP) {
			h.Headers = map[string]string{"host": "api.example.com", "Authorization": "Bearer S3CRET"}
		}), ""},
		{"large body", with("/large", nil), ""},
		{"what is beyond the bound is not read", with("/large", func(h *health.HTTP) { h.Contains = "needle" }), `not in the body \(bytes: 1048576\)$`},
		{"body that is cut", with("/cut", nil), "^read body: unexpected EOF$"},
		{"no answer", with("/hang", nil), "^timed out after 500ms$"},
		{"no end of the body", with("/hang-in-body", nil), "^timed out after 500ms$"},
		{"key in the query", get("http://127.0.0.1:1/?key=S3CRET"), "^dial tcp 127.0.0.1:1: connect: connection refused$"},
		{"no host", get("http://nosuch.invalid/"), "lookup nosuch.invalid|timed out after 500ms"},
		{"missing authorities", with("/ok", func(h *health.HTTP) { h.CAFile = "/nowhere/ca.pem" }), "^ca-file: open /nowhere/ca.pem: no such file or directory$"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := within(t, tt.check.Check, timeFor(tt.want))
			if strings.Contains(got, "S3CRET") {
				t.Errorf("the reason has a secret: %s", got)
			}
			if tt.want == "" && got != "" || tt.want != "" && !regexp.MustCompile(tt.want).MatchString(got) || tt.want != "" && got == "" {
				t.Errorf("got the reason %q, want %q", got, tt.want)
			}
		})
	}
}

// The headers of the configuration are not sent to another server, to which the first
// redirects, nor to the first after that.
func TestHTTPTellsNoOtherServerItsHeaders(t *testing.T) {
	var first, second *httptest.Server
	var mu sync.Mutex
	seen := map[string]string{}
	see := func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Path] = fmt.Sprint(r.Header["X-Api-Key"], r.Header["Authorization"], r.Header["Referer"], r.Header["User-Agent"], r.Host == "api.example.com")
	}
	first = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		switch r.URL.Path {
		case "/":
			http.Redirect(w, r, "/here", http.StatusFound)
		case "/here":
			http.Redirect(w, r, second.URL+"/there", http.StatusFound)
		}
	}))
	defer first.Close()
	second = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		http.Redirect(w, r, first.URL+"/back", http.StatusFound)
	}))
	defer second.Close()
	h := get(first.URL + "/?key=S3CRET")
	h.FollowRedirects = true
	h.Headers = map[string]string{"x-api-key": "S3CRET", "Authorization": "S3CRET", "User-Agent": "S3CRET", "Host": "api.example.com"}
	if got := look(t, h.Check); got != "" {
		t.Fatal(got)
	}
	for path, want := range map[string]string{
		"/": "[S3CRET] [S3CRET] [] [S3CRET] true", "/here": "[S3CRET] [S3CRET] [] [S3CRET] true",
		"/there": "[] [] [] [berth-health] false", "/back": "[] [] [] [berth-health] false",
	} {
		if seen[path] != want {
			t.Errorf("%s: got %q, want %q", path, seen[path], want)
		}
	}
}

// A connection that stays open shows nothing of a server that accepts no other.
func TestHTTPMakesANewConnectionForEachRun(t *testing.T) {
	seen := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen[r.RemoteAddr] = true }))
	defer server.Close()
	c := health.New(options(get(server.URL).Check))
	for range 3 {
		if err := c.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("connections: %d, want 3", len(seen))
	}
}

// net/http reads the environment once in a process; so this is another process.
func TestHTTPTakesNoProxyFromTheEnvironment(t *testing.T) {
	const inside = "BERTH_TEST_HEALTH_PROXY"
	proxy := os.Getenv(inside)
	if proxy != "" {
		// An address for documentation, which no server has (RFC 5737).
		if got := within(t, get("http://192.0.2.1/").Check, brief); got == "" {
			t.Error("the proxy answered")
		}
		return
	}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer server.Close()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"="+server.URL, "HTTP_PROXY="+server.URL, "http_proxy="+server.URL, "ALL_PROXY="+server.URL)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestHTTPOverTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.Config.ErrorLog = silent()
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key)
	writePEM(t, ca, "CERTIFICATE", server.Certificate().Raw)
	h := get(server.URL)
	if got := look(t, h.Check); !strings.Contains(got, "certificate signed by unknown authority") {
		t.Errorf("with the system's authorities: got %q", got)
	}
	h.CAFile = ca
	if got := look(t, h.Check); !strings.Contains(got, "certificate required") {
		t.Errorf("without a certificate: got %q", got)
	}
	h.CertFile, h.KeyFile = cert, key
	if got := look(t, h.Check); got != "" {
		t.Errorf("with a certificate: got %q", got)
	}
	if err := h.Usable(); err != nil {
		t.Error(err)
	}
	// The files are read at each run.
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if got, want := look(t, h.Check), "key-file: open "+key+": no such file or directory"; got != want {
		t.Errorf("without a key: got %q, want %q", got, want)
	}
	if err := h.Usable(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestAServerThatAcceptsAndIsSilentHasFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := time.Now()
	if got := within(t, get("http://"+l.Addr().String()).Check, brief); got != "timed out after 500ms" {
		t.Errorf("got %q", got)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the end"))
	if err := get("http://" + l.Addr().String()).Check(ctx); err == nil || err.Error() != "the end" {
		t.Errorf("got %v", err)
	}
}
