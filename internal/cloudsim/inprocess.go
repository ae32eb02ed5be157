package cloudsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
)

// RoundTripper returns a client's way to the simulator without a socket, as the
// first server of the account. It waits only on channels and timers, so that it
// works in a testing/synctest bubble.
func (s *Sim) RoundTripper() http.RoundTripper {
	s.mu.Lock()
	defer s.mu.Unlock()
	uuid := ""
	if len(s.servers) > 0 {
		uuid = s.servers[0].UUID
	}
	return roundTripper{s: s, server: uuid}
}

// RoundTripperFrom is RoundTripper for the server with that UUID.
func (s *Sim) RoundTripperFrom(serverUUID string) http.RoundTripper {
	return roundTripper{s: s, server: serverUUID}
}

type roundTripper struct {
	s      *Sim
	server string
}

// RoundTrip has the effect of http.Transport and an HTTP/1.1 server together. The
// handler continues when the client has gone, as that of a server does, and its
// context ends.
func (t roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	arrived := make(chan struct{})
	hctx, gone := context.WithCancel(context.WithValue(context.WithValue(context.WithoutCancel(ctx),
		askerKey{}, t.server), arrivedKey{}, sync.OnceFunc(func() { close(arrived) })))
	in := req.Clone(hctx)
	in.Body = io.NopCloser(bytes.NewReader(body))
	if in.Host == "" {
		in.Host = in.URL.Host
	}

	pr, pw := io.Pipe()
	w := &responseWriter{header: http.Header{}, pw: pw, ready: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() {
		pw.CloseWithError(context.Cause(ctx)) // before the handler can end otherwise
		gone()
	})
	go func() { // ends with the handler; as in net/http, no caller waits for it
		err := handle(t.s, w, in)
		w.finish(err)
	}()
	// The record of a request whose client leaves now must not be younger than the
	// next request of that client.
	select {
	case <-arrived:
	case <-w.ready: // the handler does not record the request
	}

	select {
	case <-w.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if w.err != nil {
		stop()
		gone()
		return nil, w.err
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, ContentLength: -1, Request: req,
		Body: &responseBody{PipeReader: pr, close: func() { stop(); gone() }},
	}, nil
}

// arrivedKey is the context key of the function to call when an in-process request
// is on record.
type arrivedKey struct{}

// handle runs the handler and returns the error that a client sees if the
// connection was dropped.
func handle(h http.Handler, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				panic(p)
			}
			err = syscall.ECONNRESET
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}

// responseBody is the body of a response; closing it ends the handler's context.
type responseBody struct {
	*io.PipeReader
	close func()
}

func (b *responseBody) Close() error {
	b.close()
	return b.PipeReader.Close()
}

// responseWriter passes the head to the waiting client with the first byte, and the
// body through a pipe.
type responseWriter struct {
	header http.Header
	pw     *io.PipeWriter
	once   sync.Once
	ready  chan struct{} // closed when status or err is set
	status int
	err    error
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.header = w.header.Clone()
		w.status = status
		close(w.ready)
	})
}

func (w *responseWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if len(b) == 0 {
		return 0, nil
	}
	return w.pw.Write(b)
}

// Flush does nothing, because a pipe does not buffer.
func (w *responseWriter) Flush() {}

func (w *responseWriter) finish(err error) {
	w.once.Do(func() {
		w.status, w.err = http.StatusOK, err
		close(w.ready)
	})
	if err != nil {
		err = io.ErrUnexpectedEOF
	}
	w.pw.CloseWithError(err) // nil is io.EOF
}
