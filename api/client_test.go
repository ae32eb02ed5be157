package api_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/api"
)

const secret = "S3CRET-PASSW0RD"

// listWith lists the addresses with an access, and returns the error.
func listWith(t *testing.T, a api.Access) error {
	t.Helper()
	c, err := api.NewClient(a)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.IPs(t.Context())
	return err
}

// caFile writes the certificate of a server into a file.
func caFile(t *testing.T, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func serveTLS(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet(t)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// answers returns a handler that gives one answer.
func answers(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// Each failure is one line with the URL and a cure, and without the password.
func TestFailuresOfACallNameTheURLAndTheCure(t *testing.T) {
	plain, secure := serve(t, answers(200, `{"ips":[]}`)), serveTLS(t, answers(200, `{"ips":[]}`))
	closed := serve(t, nil)
	closed.Close()
	other := serveTLS(t, nil)
	hangUp := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
	for _, tt := range []struct {
		name   string
		access api.Access
		want   string
	}{
		{"nobody listens", api.Access{URL: closed.URL}, "connection refused; does berth run there with api.listen?"},
		{"no such host", api.Access{URL: "http://no-such-host.invalid:1313"}, "no-such-host.invalid"},
		{"credentials are wanted", api.Access{URL: serve(t, answers(401, "")).URL}, "wants a user and a password; write --username, and --password-file or the variable BERTH_API_PASSWORD"},
		{"credentials are wrong", api.Access{URL: serve(t, answers(401, "")).URL, Username: "admin", Password: secret}, `does not accept user "admin" with this password; see --username, and --password-file or the variable BERTH_API_PASSWORD`},
		{"unknown authority", api.Access{URL: secure.URL}, "write --ca-file FILE, the certificate of its authority"},
		{"another authority", api.Access{URL: secure.URL, CAFile: otherCA(t)}, "(--ca-file)"},
		{"another name", api.Access{URL: "https://localhost:" + port, CAFile: caFile(t, secure)}, "write a name of the certificate in --url"},
		{"TLS to a server without", api.Access{URL: strings.Replace(plain.URL, "http:", "https:", 1)}, "does not speak TLS; write http:// in --url"},
		{"no TLS to a server with", api.Access{URL: strings.Replace(other.URL, "https:", "http:", 1)}, "speaks TLS; write https:// in --url"},
		{"a server that closes", api.Access{URL: hangUp.URL}, "closed the connection without an answer"},
		{"a reason", api.Access{URL: serve(t, answers(409, `{"error":"no; do that","msg":"no; do that"}`)).URL}, ": no; do that"},
		{"LinK's other key", api.Access{URL: serve(t, answers(400, `{"msg":"invalid json"}`)).URL}, ": invalid json"},
		{"no reason", api.Access{URL: serve(t, answers(404, "<html>")).URL}, "404 Not Found, and no reason that berth's API would give; is --url right?"},
		{"a reason that is several lines", api.Access{URL: serve(t, answers(503, `{"error":"etcd\n\u001b[2Jdoes not answer"}`)).URL}, "etcd [2Jdoes not answer"},
		{"a reason without end", api.Access{URL: serve(t, answers(503, `{"error":"`+strings.Repeat("a", 5000)+`"}`)).URL}, "aaa..."},
		{"an answer that is not JSON", api.Access{URL: serve(t, answers(200, "<html>")).URL}, "not that of berth's API; is --url right?"},
		{"an answer of another form", api.Access{URL: serve(t, answers(200, `{"ips":7}`)).URL}, "not that of berth's API"},
		{"a header without end", api.Access{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 100<<10))
		}).URL}, "header"},
		{"an answer without end", api.Access{URL: serve(t, answers(200, `{"ips":[]}`+strings.Repeat(" ", 17<<20))).URL}, "more than 16777216 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := listWith(t, tt.access)
			e, ok := errors.AsType[*api.Error](err)
			if !ok || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), tt.access.URL+"/ips: ") {
				t.Fatalf("want an *Error with the URL and %q, got %v", tt.want, err)
			}
			if text := e.Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > 1200 || strings.Contains(text, secret) {
				t.Errorf("want one short line without the password, got %q", text)
			}
		})
	}
}

// otherCA is the certificate of an authority that has signed nothing.
func otherCA(t *testing.T) string {
	s := httptest.NewUnstartedServer(nil)
	cert, key := selfSigned(t)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	defer s.Close()
	return caFile(t, s)
}

func TestAServerThatTheClientKnowsIsAsked(t *testing.T) {
	cert, key := selfSigned(t)
	dir := t.TempDir()
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "admin" || password != secret || len(r.TLS.PeerCertificates) != 1 {
			w.WriteHeader(401)
		}
		io.WriteString(w, `{"ips":[]}`)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.Config.ErrorLog = quiet(t)
	s.StartTLS()
	t.Cleanup(s.Close)
	access := api.Access{URL: s.URL + "/", Username: "admin", Password: secret, CAFile: caFile(t, s)}
	if err := listWith(t, access); err == nil || !strings.Contains(err.Error(), "--cert-file and --key-file") {
		t.Errorf("want that the certificate of the client is missing, got %v", err)
	}
	access.CertFile, access.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := listWith(t, access); err != nil {
		t.Error(err)
	}
}

// Texts of an answer go to a terminal, in a table or as JSON.
func TestTextsOfAnAnswerAreHarmless(t *testing.T) {
	evil, want := `\u001b]0;x\u0007 \u009b2J\n\u202e`, "\ufffd]0;x\ufffd \ufffd2J \ufffd"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body := map[string]string{
			"/ips":                 `{"ips":[{"id":"EVIL","owner":"EVIL","reason":"EVIL","last_event":{"event":"EVIL"},"checks":[{"host":"EVIL"}]}]}`,
			"/ips/vip-2001:db8::1": `{"ip":{"ip":"EVIL"}}`,
			"/cluster":             `{"this":"EVIL","members":[{"name":"EVIL"}]}`,
			"/pool":                `{"members":[{"member":"EVIL"}]}`,
			"/pool/ips":            `{"changes":[{"what":"EVIL"}]}`,
		}[r.URL.Path]
		io.WriteString(w, strings.ReplaceAll(body, "EVIL", evil))
	})
	c, err := api.NewClient(api.Access{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	all, err1 := c.IPs(ctx)
	one, err2 := c.IP(ctx, "2001:db8::1")
	view, err3 := c.Cluster(ctx)
	pool, err4 := c.Pool().List(ctx)
	changes, err5 := c.Pool().Add(ctx, []string{"192.0.2.1"})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	for i, got := range []string{all[0].ID, all[0].Owner, all[0].Reason, string(all[0].LastEvent.Event), all[0].Checks[0].Host,
		one.IP, view.This, view.Members[0].Name, pool.Members[0].Member, changes[0].What} {
		if got != want {
			t.Errorf("%d: want %q, got %q", i, want, got)
		}
	}
}

// The credentials of one server are for no other.
func TestARedirectIsNotFollowed(t *testing.T) {
	asked := make(chan struct{}, 1)
	thief := serve(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(thief.URL, "http://", "http://admin:"+secret+"@", 1)+"/x", status)
		})
		err := listWith(t, api.Access{URL: s.URL, Username: "admin", Password: secret})
		if err == nil || !strings.Contains(err.Error(), "sends to another URL at "+thief.URL+", which berth does not follow") || strings.Contains(err.Error(), secret) {
			t.Errorf("%d: want the other URL, got %v", status, err)
		}
	}
	select {
	case <-asked:
		t.Error("the other server was asked")
	default:
	}
}

// A call ends with its context, whose cause is the error.
func TestACallEndsWithItsContext(t *testing.T) {
	asked, done := make(chan struct{}), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-done
	})
	defer close(done)
	c, err := api.NewClient(api.Access{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator has gone home")
	go func() {
		<-asked
		cancel(cause)
	}()
	if _, err = c.IPs(ctx); err == nil || !strings.HasSuffix(err.Error(), cause.Error()) {
		t.Errorf("want the cause, got %v", err)
	}
}

func TestMistakesOfAnAccessNameTheOption(t *testing.T) {
	cert, _ := selfSigned(t)
	dir := t.TempDir()
	junk, good := filepath.Join(dir, "junk.pem"), filepath.Join(dir, "good.pem")
	for path, text := range map[string][]byte{junk: []byte("junk"), good: cert} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		access api.Access
		want   string
	}{
		{"no URL", api.Access{}, "--url: write the URL of a berth with api.listen, such as http://127.0.0.1:1313"},
		{"no scheme", api.Access{URL: "127.0.0.1:1313"}, "--url: write the URL"},
		{"another scheme", api.Access{URL: "ftp://127.0.0.1"}, "--url: write the URL"},
		{"no host", api.Access{URL: "http://:1313"}, "--url: write the URL"},
		{"a query", api.Access{URL: "http://127.0.0.1:1313/?a=" + secret}, "--url: write the URL"},
		{"a port that is none", api.Access{URL: "http://127.0.0.1:" + secret}, "--url: write the URL"},
		{"a password in the URL", api.Access{URL: "http://admin:" + secret + "@127.0.0.1:1313"}, "--url: found a user in the URL; write --username, and --password-file or the variable BERTH_API_PASSWORD"},
		{"a password without a user", api.Access{URL: "http://lb1:1313", Password: secret}, "--username: missing"},
		{"a user without a password", api.Access{URL: "http://lb1:1313", Username: "admin"}, "--password-file: missing"},
		{"a user with a colon", api.Access{URL: "http://lb1:1313", Username: "a:b", Password: secret}, "--username: found a colon"},
		{"a certificate without a key", api.Access{URL: "https://lb1:1313", CertFile: good}, "--cert-file and --key-file: write both or none"},
		{"an authority without TLS", api.Access{URL: "http://lb1:1313", CAFile: good}, "has no TLS; write https://"},
		{"an authority that is no certificate", api.Access{URL: "https://lb1:1313", CAFile: junk}, "--ca-file: " + junk + " has no certificate"},
		{"no file", api.Access{URL: "https://lb1:1313", CAFile: junk + ".not"}, "--ca-file: open "},
		{"a key that is none", api.Access{URL: "https://lb1:1313", CertFile: good, KeyFile: junk}, "--cert-file: read client certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := api.NewClient(tt.access); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}
