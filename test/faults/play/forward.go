package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"berth/test/faults"
)

// firstPort is where the API of the first host is reached from the machine that the lab is
// on, if it is free: a host listens on the loopback interface of its own namespace.
const firstPort = 1313

// A way leads connections from a port of the machine's loopback interface to the API of a
// host.
type way struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
}

// lead makes the way to a host, from another port where the machine has that one in use.
func lead(h *faults.Host, port int) (*way, error) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if errors.Is(err, unix.EADDRINUSE) {
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("lead to the API of %s: %w", h.Name(), err)
	}
	w := &way{listener: l, open: map[net.Conn]bool{}}
	w.wait.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // closed
			}
			w.wait.Go(func() { w.carry(h, from) })
		}
	})
	return w, nil
}

// carry serves one connection.
func (w *way) carry(h *faults.Host, from net.Conn) {
	defer from.Close()
	to, err := h.DialAPI()
	if err != nil {
		return // berth does not run; the client sees a connection that ends
	}
	defer to.Close()
	if !w.keep(from, to) {
		return
	}
	defer w.forget(from, to)
	var both sync.WaitGroup
	for _, d := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			io.Copy(d[0], d[1])
			d[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// keep notes connections that close has to end, and reports whether the way is open.
func (w *way) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		w.open[c] = true
	}
	return !w.closed
}

func (w *way) forget(conns ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		delete(w.open, c)
	}
}

// close ends the way and all connections on it.
func (w *way) close() error {
	err := w.listener.Close()
	w.mu.Lock()
	w.closed = true
	for c := range w.open {
		c.Close()
	}
	w.mu.Unlock()
	w.wait.Wait()
	return err
}
