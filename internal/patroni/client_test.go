package patroni_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/patroni"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// limit bounds each wait.
const limit = 20 * time.Second

func contextOf(t *testing.T) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(errEnded) })
	return ctx, cancel
}

// ask has a follower ask a server and returns whether this host has the role by the first
// answer, and the reason if it does not.
func ask(t *testing.T, s patroni.Server) (holds bool, reason string) {
	t.Helper()
	f, err := patroni.New(patroni.Options{Server: s, Role: patroni.Leader})
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan error, 1)
	ctx, cancel := contextOf(t)
	defer func() { cancel(errEnded); <-ends }()
	go func() { ends <- f.Run(ctx) }()
	if _, err := f.Begun(ctx); err != nil {
		t.Fatal(err)
	}
	return f.State()
}

// Patroni answers by HTTP/1.0 and closes the connection; it may have TLS.
func TestTheStatusOfARealServer(t *testing.T) {
	for _, status := range []int{200, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/leader" {
				status = 404
			}
			w.WriteHeader(status)
			w.Write([]byte(`{"role": "master"}`))
		}))
		if holds, why := ask(t, patroni.Server{URL: server.URL}); holds != (status == 200) {
			t.Errorf("%d: got %t, %s", status, holds, why)
		}
		server.Close()
	}
}

// A redirection leads to another host, perhaps.
func TestARedirectionIsNotFollowed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("want no request there")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer server.Close()
	if holds, _ := ask(t, patroni.Server{URL: server.URL}); holds {
		t.Error("want a no")
	}
}

// The port may be that of any other program.
func TestAServerThatIsNotPatroniIsBounded(t *testing.T) {
	for name, speak := range map[string]func(net.Conn){
		"says nothing":           func(c net.Conn) { <-closed(c) },
		"closes at once":         func(net.Conn) {},
		"speaks another tongue":  func(c net.Conn) { c.Write([]byte("220 mail ready\r\n")) },
		"has an endless header":  func(c net.Conn) { endless(c, "HTTP/1.0 200 OK\r\n", "X-Y: "+strings.Repeat("z", 1000)+"\r\n") },
		"has no end of a status": func(c net.Conn) { endless(c, "HTTP/1.0 200 ", strings.Repeat("z", 1000)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if holds, why := ask(t, patroni.Server{URL: serve(t, speak)}); holds || !strings.HasPrefix(why, "Patroni does not answer: ") {
				t.Errorf("want no answer, got %t, %q", holds, why)
			}
		})
	}
}

// The answer counts when its status has come, and its body costs nothing.
func TestAnEndlessBodyIsNotRead(t *testing.T) {
	t.Parallel()
	url := serve(t, func(c net.Conn) { endless(c, "HTTP/1.0 200 OK\r\n\r\n", strings.Repeat("z", 1000)) })
	begun := time.Now()
	if holds, why := ask(t, patroni.Server{URL: url}); !holds || time.Since(begun) > 2*time.Second {
		t.Errorf("want a yes at once, got %t, %q after %v", holds, why, time.Since(begun))
	}
}

// serve has each connection to it spoken to once its request has come, and returns its
// URL.
func serve(t *testing.T, speak func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					if line, err := r.ReadString('\n'); err != nil || line == "\r\n" {
						break
					}
				}
				speak(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// closed is closed when the other side has closed a connection.
func closed(c net.Conn) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.SetReadDeadline(time.Now().Add(limit))
		c.Read(make([]byte, 1))
	}()
	return done
}

// endless writes until the other side has had enough.
func endless(c net.Conn, begin, more string) {
	c.SetWriteDeadline(time.Now().Add(limit))
	for _, err := c.Write([]byte(begin)); err == nil; _, err = c.Write([]byte(more)) {
	}
}

func TestTLS(t *testing.T) {
	wanted := &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = wanted
	server.StartTLS()
	t.Cleanup(server.Close)
	// The certificate of httptest is one for a client too, for the name example.com.
	dir := t.TempDir()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	ca, keyFile, text := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "text")
	if err := errors.Join(
		os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
		os.WriteFile(text, []byte("nothing"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	good := patroni.Server{URL: server.URL, CAFile: ca, CertFile: ca, KeyFile: keyFile}
	if holds, why := ask(t, good); !holds {
		t.Errorf("want a yes, got %s", why)
	}
	named := good
	named.ServerName = "example.com"
	if holds, why := ask(t, named); !holds {
		t.Errorf("want a yes by name, got %s", why)
	}
	for name, change := range map[string]func(*patroni.Server){
		"certificate for another name": func(s *patroni.Server) { s.ServerName = "other.example" },
		"unknown authority":            func(s *patroni.Server) { s.CAFile = "" },
		"no client certificate":        func(s *patroni.Server) { s.CertFile, s.KeyFile = "", "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := good
			change(&s)
			if holds, why := ask(t, s); holds || !strings.Contains(why, "tls: ") && !strings.Contains(why, "x509: ") {
				t.Errorf("want no answer because of TLS, got %t, %s", holds, why)
			}
		})
	}
	for name, change := range map[string]func(*patroni.Server){
		"follow.patroni.ca-file: " + text + " has no certificate":      func(s *patroni.Server) { s.CAFile = text },
		"follow.patroni.cert-file: read client certificate of " + text: func(s *patroni.Server) { s.CertFile = text },
		"follow.patroni.key-file: open " + dir + "/none: no such file": func(s *patroni.Server) { s.KeyFile = dir + "/none" },
	} {
		s := good
		change(&s)
		if _, err := patroni.New(patroni.Options{Server: s, Role: patroni.Leader}); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("want %s, got %v", name, err)
		}
	}
}

// One line tells that Patroni is stopped, however often it is asked.
func TestAPatroniThatIsStoppedIsToldOnce(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	f, err := patroni.New(patroni.Options{Server: patroni.Server{URL: "http://127.0.0.1:1"}, Role: patroni.Leader, Journal: journal.New(zap.New(core))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := contextOf(t)
	ends := make(chan error, 1)
	go func() { ends <- f.Run(ctx) }()
	if _, err := f.Begun(ctx); err != nil {
		t.Fatal(err)
	}
	cancel(errEnded)
	<-ends
	if got := logs.All(); len(got) != 1 || !strings.Contains(got[0].ContextMap()["error"].(string), "connection refused") {
		t.Errorf("want one line, got %v", got)
	}
}
