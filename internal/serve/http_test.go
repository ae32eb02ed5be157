package serve

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })

// listening runs HTTP and returns its address.
func listening(t *testing.T, handler http.Handler) string {
	t.Helper()
	said := make(chan string, 16)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(io.Discard), zap.InfoLevel)
	log := zap.New(core, zap.WrapCore(func(zapcore.Core) zapcore.Core { return &listenCore{core, said} }))
	ctx, cancel := context.WithCancelCause(t.Context())
	var running sync.WaitGroup
	server := HTTP{Listen: "127.0.0.1:0", Handler: handler, Connections: maxConnections, Served: served, Unservable: unservable, Journal: journal.New(log)}
	running.Go(func() { server.Run(ctx) })
	t.Cleanup(func() {
		cancel(errors.New("test is over"))
		running.Wait()
	})
	return <-said
}

// listenCore passes on the field listen.
type listenCore struct {
	zapcore.Core
	said chan<- string
}

func (c *listenCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, c)
}

func (c *listenCore) Write(_ zapcore.Entry, fields []zapcore.Field) error {
	for _, f := range fields {
		if a, ok := f.Interface.(net.Addr); ok {
			c.said <- a.String()
		}
	}
	return nil
}

func get(address string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// closed waits until the other side has closed a connection.
func closed(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want the connection closed, got %v", err)
	}
}

func TestClientsThatOnlyConnectKeepNoOtherClientOutAndTakeFewDescriptors(t *testing.T) {
	address := listening(t, hello)
	var conns []net.Conn
	for i := range 200 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			io.WriteString(c, "GET / HTTP/1.1\r\nX-Half: ")
		}
		conns = append(conns, c)
	}
	for _, c := range conns[:len(conns)-maxConnections] {
		closed(t, c)
	}
	if text, err := get(address); text != "hello" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestAClientThatComesWhileAllAreAnsweredIsClosed(t *testing.T) {
	entered, leave := make(chan bool, maxConnections), make(chan bool)
	address := listening(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-leave
		hello(w, r)
	}))
	var busy sync.WaitGroup
	for range maxConnections {
		busy.Go(func() {
			if text, err := get(address); text != "hello" || err != nil {
				t.Errorf("got %q, %v", text, err)
			}
		})
	}
	for range maxConnections {
		<-entered
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	closed(t, c)
	close(leave)
	busy.Wait()
	if text, err := get(address); text != "hello" || err != nil {
		t.Errorf("afterwards: got %q, %v", text, err)
	}
}

// pipes is a listener without sockets.
type pipes struct {
	conns chan net.Conn
	end   chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.end:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.end) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestSlowClientsAreClosed(t *testing.T) {
	for _, row := range []struct {
		name, text string
		after      time.Duration
	}{
		{"sends nothing", "", headerTimeout},
		{"sends half a header", "GET / HTTP/1.1\r\nX-Half: ", headerTimeout},
		{"sends no second request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", idleTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &pipes{conns: make(chan net.Conn), end: make(chan struct{})}
			ctx, cancel := context.WithCancelCause(t.Context())
			var running sync.WaitGroup
			server := HTTP{Handler: hello, Connections: maxConnections}
			running.Go(func() { server.answer(ctx, p) })
			mine, theirs := net.Pipe()
			p.conns <- theirs
			start := time.Now()
			running.Go(func() { io.WriteString(mine, row.text) })
			r := bufio.NewReader(mine)
			if row.after == idleTimeout {
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				io.ReadAll(resp.Body)
			}
			if text, err := io.ReadAll(r); err != nil || len(text) > 0 {
				t.Logf("%s: the answer was %q, %v", row.name, text, err)
			}
			if took := time.Since(start); took != row.after {
				t.Errorf("%s: want the end after %v, got %v", row.name, row.after, took)
			}
			mine.Close()
			cancel(errors.New("test is over"))
			running.Wait()
		})
	}
}
