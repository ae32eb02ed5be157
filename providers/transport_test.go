package providers_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/providers"
)

// cable is a connection that can be cut without either end being told: bytes that are
// written then are lost, and none arrive.
type cable struct {
	net.Conn
	cut *atomic.Bool
}

func (c cable) Write(p []byte) (int, error) {
	if c.cut.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// pipeListener accepts the far ends of pipes.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestDeadHTTP2ConnectionIsNoticedWithinTwoSeconds(t *testing.T) {
	// Only its certificate is used: sockets have no place in a bubble.
	cert := httptest.NewTLSServer(nil)
	defer cert.Close()
	roots := cert.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs

	for _, tt := range []struct {
		name string
		idle time.Duration // between the cut and the next request
		want []string      // outcome and time of that request and the one after
	}{
		{"cut during a request", 0, []string{"failed after at most 2s", "HTTP/2.0"}},
		{"cut while idle", 2001 * time.Millisecond, []string{"HTTP/2.0", "HTTP/2.0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				var protocols http.Protocols
				protocols.SetHTTP2(true)
				srv := &http.Server{
					Handler:   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }),
					Protocols: &protocols,
					TLSConfig: &tls.Config{Certificates: cert.TLS.Certificates, NextProtos: []string{"h2"}},
				}
				served := make(chan struct{})
				go func() {
					defer close(served)
					srv.ServeTLS(l, "", "")
				}()

				var cut *atomic.Bool
				transport := providers.NewTransport(nil, false, nil)
				transport.TLSClientConfig.RootCAs = roots
				transport.TLSClientConfig.ServerName = "example.com"
				transport.TLSClientConfig.Time = func() time.Time { return cert.Certificate().NotBefore.Add(time.Hour) }
				transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					cut = new(atomic.Bool)
					l.conns <- cable{far, cut}
					return cable{near, cut}, nil
				}
				c := providers.NewCaller(providers.CallerOptions{Provider: "test", Transport: transport})
				ask := func() (proto string) {
					start := time.Now()
					err := c.Get(t.Context(), "ask", "https://example.com/", func(r io.Reader) error {
						b, err := io.ReadAll(r)
						proto = string(b)
						return err
					})
					if err == nil {
						return proto
					}
					if took := time.Since(start); took > 2*time.Second {
						return "failed after " + took.String()
					}
					return "failed after at most 2s"
				}
				if got := ask(); got != "HTTP/2.0" {
					t.Fatalf("first request: got %s", got)
				}
				cut.Store(true)
				time.Sleep(tt.idle)
				if d := cmp.Diff(tt.want, []string{ask(), ask()}); d != "" {
					t.Errorf("want-, got+:\n%s", d)
				}
				srv.Close()
				transport.CloseIdleConnections()
				<-served
			})
		})
	}
}

func TestConnectionClosedWhileIdleCostsNoWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		var arrived []string
		srv := &http.Server{
			IdleTimeout: 5 * time.Second,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				arrived = append(arrived, r.Method+" "+r.RemoteAddr)
				w.WriteHeader(http.StatusNoContent)
			}),
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			srv.Serve(l)
		}()
		dials := 0
		transport := providers.NewTransport(nil, false, nil)
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			dials++
			near, far := net.Pipe()
			l.conns <- far
			return near, nil
		}
		c := providers.NewCaller(providers.CallerOptions{Provider: "test", Transport: transport})
		send := func() error {
			return c.Call(t.Context(), "send", func(ctx context.Context) error {
				req, err := http.NewRequestWithContext(ctx, http.MethodPatch, "http://example.com/", strings.NewReader("{}"))
				if err != nil {
					return err
				}
				resp, err := c.HTTPClient().Do(req)
				if err != nil {
					return err
				}
				return resp.Body.Close()
			})
		}
		for range 2 { // the second goes over the connection of the first
			if err := send(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(6 * time.Second) // the server closes it
		if err := send(); err != nil {
			t.Errorf("want the write to go over a new connection, got %v", err)
		}
		if len(arrived) != 3 || dials != 2 {
			t.Errorf("want three writes over two connections, got %v over %d", arrived, dials)
		}
		srv.Close()
		transport.CloseIdleConnections()
		<-served
	})
}

// Connections that were begun and given up must not count for ever either: there
// are more rounds than connections may be open. Client and server share this
// process, and 500 handshakes at once keep a busy machine from answering a ping
// within its second: the time limits, which other tests hold, are lifted.
func TestBurstOpensFewConnections(t *testing.T) {
	const n, rounds, most = 500, 40, 100
	var opened atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	srv.EnableHTTP2 = true
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	transport := providers.NewTransport(nil, false, srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
	defer transport.CloseIdleConnections()
	transport.HTTP2, transport.TLSHandshakeTimeout = nil, time.Minute
	c := providers.NewCaller(providers.CallerOptions{Provider: "test", Transport: transport, Timeout: time.Minute})
	ask := func() error {
		return c.Get(t.Context(), "ask", srv.URL, func(r io.Reader) error {
			b, err := io.ReadAll(r)
			if err == nil && string(b) != "HTTP/2.0" {
				err = errors.New("over " + string(b))
			}
			return err
		})
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := opened.Load(); got > most {
		t.Errorf("connections for %d requests at once: want %d at most, got %d", n, most, got)
	}
	for range rounds {
		srv.CloseClientConnections()
		var err error
		for range 10 { // some notice a connection that is dead
			if err = ask(); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnreachableEndpointNamesIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	c := providers.NewCaller(providers.CallerOptions{Provider: "test"})
	err = c.Get(t.Context(), "ask", "http://"+addr+"/secret-path", nil)
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Kind != providers.Transient || e.Status != 0 {
		t.Fatalf("want a transient *Error without a status, got %v", err)
	}
	if want := "test: ask: dial tcp " + addr + ": connect: connection refused"; err.Error() != want {
		t.Errorf("want %q, got %q", want, err)
	}
}

func TestMetadataTransportKnowsNoProxy(t *testing.T) {
	if providers.NewTransport(nil, false, nil).Proxy != nil {
		t.Error("want no proxy at all")
	}
	if providers.NewTransport(nil, true, nil).Proxy == nil {
		t.Error("want the proxy of the environment")
	}
}
