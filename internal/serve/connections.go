package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
)

// connections bounds how many connections there are. The connection that has waited
// longest without a whole request makes room for a new one, so that clients that
// only connect, or send nothing but a part of a request, keep no other client out. If all
// are being answered, the new one is closed.
type connections struct {
	max int

	mu      sync.Mutex
	waiting []net.Conn        // for a whole request, the longest first
	active  map[net.Conn]bool // being answered
	ended   bool              // no request is answered any more

	answering sync.WaitGroup // begun with the lock held, and not after the end
}

// changed is an http.Server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(conn)
	switch state {
	case http.StateActive: // its header was read
		c.active[conn] = true
	case http.StateNew, http.StateIdle:
		c.waiting = append(c.waiting, conn)
		if len(c.waiting)+len(c.active) > c.max {
			c.waiting[0].Close()
			c.waiting = c.waiting[1:]
		}
	}
}

// forget is called with the lock held.
func (c *connections) forget(conn net.Conn) {
	delete(c.active, conn)
	c.waiting = slices.DeleteFunc(c.waiting, func(w net.Conn) bool { return w == conn })
}

// connKey is the key of the connection in the context of its requests.
type connKey struct{}

// context is an http.Server's ConnContext.
func (*connections) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// handler has the connection wait, as one without a whole request, while a handler reads
// the body.
func (c *connections) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		if c.ended {
			c.mu.Unlock()
			panic(http.ErrAbortHandler) // to return would be an answer: 200
		}
		c.answering.Add(1)
		conn, _ := r.Context().Value(connKey{}).(net.Conn)
		if r.ContentLength != 0 && conn != nil {
			c.forget(conn)
			c.waiting = append(c.waiting, conn)
			r.Body = &body{ReadCloser: r.Body, whole: func() { c.whole(conn) }}
		}
		c.mu.Unlock()
		defer c.answering.Done()
		next.ServeHTTP(w, r)
	})
}

// whole tells that a request has arrived to its end.
func (c *connections) whole(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.waiting, conn) { // else it was closed to make room
		c.forget(conn)
		c.active[conn] = true
	}
}

// end has no request answered any more, and waits until those are that have begun.
func (c *connections) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.answering.Wait()
}

// body tells when it has been read to its end.
type body struct {
	io.ReadCloser
	whole func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.whole()
	}
	return n, err
}
