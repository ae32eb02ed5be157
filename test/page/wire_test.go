package page_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// wire is a connection of the browser to the server that a test cuts and holds up.
type wire struct {
	t *testing.T

	gate sync.RWMutex // held for writing while nothing passes

	mu    sync.Mutex // guards what follows
	at    string     // where the browser connects
	to    string     // where the server listens
	l     net.Listener
	conns map[net.Conn]bool

	done sync.WaitGroup
}

// newWire returns a wire, which ends with the test.
func newWire(t *testing.T) *wire {
	w := &wire{t: t, at: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	w.mend()
	t.Cleanup(func() {
		w.cut()
		w.done.Wait()
	})
	return w
}

// url is where the browser finds the server.
func (w *wire) url() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return "http://" + w.at
}

// lead leads to where the server listens now.
func (w *wire) lead(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}

// cut ends all connections and refuses new ones, as a server does that has ended.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.l.Close()
	for c := range w.conns {
		c.Close()
	}
}

// mend lets connections through again.
func (w *wire) mend() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	l, err := net.Listen("tcp", w.at)
	if err != nil {
		w.t.Fatal(err)
	}
	w.l, w.at = l, l.Addr().String()
	w.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.done.Go(func() { w.carry(c) })
		}
	})
}

// carry carries one connection.
func (w *wire) carry(c net.Conn) {
	w.mu.Lock()
	to := w.to
	w.mu.Unlock()
	s, err := net.Dial("tcp", to)
	if err != nil {
		c.Close()
		return
	}
	w.mu.Lock()
	w.conns[c], w.conns[s] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	copyTo := func(to, from net.Conn) {
		io.Copy(gated{to, &w.gate}, from)
		to.Close()
		from.Close()
	}
	both.Go(func() { copyTo(c, s) })
	both.Go(func() { copyTo(s, c) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, c)
	delete(w.conns, s)
	w.mu.Unlock()
}

// gated writes while the gate is open.
type gated struct {
	io.Writer
	gate *sync.RWMutex
}

// Write waits for the gate.
func (g gated) Write(p []byte) (int, error) {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.Writer.Write(p)
}
