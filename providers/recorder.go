package providers

import (
	"fmt"
	"io"
	"net/http"

	"berth/internal/names"
)

const (
	maxBody     = 6 << 20 // bytes of an answer that are read: a list of 10,000 floating IPs has 4.5 million
	maxRecorded = 4 << 10 // bytes of an answer recorded for the error text
)

// exchange is what came over the wire for one request. It is written by the
// goroutine that runs the call and read when the call is over.
type exchange struct {
	status int
	header http.Header
	body   []byte // its first maxRecorded bytes, as far as they were read
	waited string // the name whose look-up was waited for at the end, "" for none
}

type exchangeKey struct{}

// recorder notes status, headers and the beginning of the body of each answer in
// the exchange of the request's context, and cuts off bodies without end.
type recorder struct {
	next        http.RoundTripper
	credentials *Credentials
}

func (t recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.inClear(req) {
		req = req.WithContext(names.Unproven(req.Context()))
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	if x == nil {
		x = &exchange{}
	}
	x.status, x.header, x.body = resp.StatusCode, resp.Header, nil
	resp.Body = &recordedBody{ReadCloser: resp.Body, x: x, left: maxBody}
	return resp, nil
}

// inClear reports whether a request takes a secret to a server that need not prove
// its identity: credentials of the API over plain HTTP, whether as they are or as a
// signature, or credentials of a proxy.
func (t recorder) inClear(req *http.Request) bool {
	if req.URL.Scheme == "http" && len(t.credentials.Values()) > 0 {
		return true
	}
	transport, ok := t.next.(*http.Transport)
	if !ok || transport.Proxy == nil {
		return false
	}
	proxy, err := transport.Proxy(req)
	return err == nil && proxy != nil && proxy.Scheme != "https" && proxy.User != nil
}

type recordedBody struct {
	io.ReadCloser
	x    *exchange
	left int
}

var errTooLarge = fmt.Errorf("answer is larger than %d bytes", maxBody)

func (b *recordedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		// Only an end can be hidden behind the limit.
		var one [1]byte
		n, err := b.ReadCloser.Read(one[:])
		if n > 0 {
			err = errTooLarge
		}
		return 0, err
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	if room := maxRecorded - len(b.x.body); room > 0 {
		b.x.body = append(b.x.body, p[:min(n, room)]...)
	}
	return n, err
}
