package providers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/internal/files"
	"berth/internal/names"
)

// Limits that hold for every provider. A takeover waits for these calls, so
// they are short; the refresher tries again anyway.
const (
	connectTimeout = 3 * time.Second  // TCP, for each address; the TLS handshake has the same again
	requestTimeout = 10 * time.Second // from the first to the last byte
	maxBody        = 6 << 20          // bytes of an answer that are read: a list of 10,000 floating IPs has 4.5 million
	maxRecorded    = 4 << 10          // bytes of an answer kept for the error text

	// maxPause bounds how long an account is left alone because an answer asked
	// for it; what a broken proxy says must not decide an outage.
	maxPause = 10 * time.Minute

	// maxConns bounds the connections to a host. One of HTTP/2 carries a burst, but
	// net/http begins one for each request that comes before it stands or while it
	// carries all that the server allows: a thousand handshakes take longer than a
	// thousand claims. Over HTTP/1.1 it is how many requests run at a time.
	maxConns = 32

	// A connection is kept for the calls that follow a claim at once (read
	// back, settle checks at 2, 5 and 15 s) and no longer: a takeover minutes
	// later must not start on one that died unseen in between.
	idleTimeout = 20 * time.Second

	// Death of a pooled connection is noticed within two seconds: a ping after
	// one second of silence and one second for its answer (HTTP/2), or no
	// acknowledgement of what was sent (TCP, see dial.go).
	pingAfter   = time.Second
	pingTimeout = time.Second
)

// NewTransport returns the way to the network that all providers share; proxy
// says whether the proxy variables of the environment count (see
// http.ProxyFromEnvironment), and roots whom to trust, nil being those of the
// system. Hosts are looked up by resolver, which has a time limit of its own; nil
// means one that keeps nothing on disk.
//
// It makes no hidden retries of its own. What net/http does is kept: when a
// reused connection turns out dead it dials anew, for a write only if not one
// byte of it was sent, for a read also if the answer never began, and for
// HTTP/2 if the server says that it did not look at the request. Hence no write
// can reach a server twice, and a connection that was closed by the server while
// idle costs no failed claim.
func NewTransport(resolver *names.Resolver, proxy bool, roots *x509.CertPool) *http.Transport {
	if resolver == nil {
		resolver = names.New("", nil)
	}
	d := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pingAfter, Interval: pingTimeout, Count: 1},
		ControlContext:  controlSocket,
	}
	t := &http.Transport{
		DialContext:            (&names.Dialer{Names: resolver, Timeout: connectTimeout, Dial: d.DialContext}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true, // a DialContext of one's own switches it off otherwise
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        maxConns,
		MaxIdleConnsPerHost:    maxConns, // a burst over HTTP/1.1 may well reuse what it opened
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // answers are small; limits then count bytes on the wire
	}
	if proxy {
		t.Proxy = http.ProxyFromEnvironment
	}
	return t
}

// maxAuthorities bounds a file of certificates, in bytes: that of a system, with
// all authorities there are, has a quarter of a million.
const maxAuthorities = 8 << 20

// Roots returns the authorities of the system and those in a file of PEM
// certificates; nil, which means those of the system, if file is "".
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := files.Read(file, maxAuthorities)
	if err != nil {
		return nil, fmt.Errorf("read ca-file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // those of the file are what counts
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read ca-file: no certificate in %s", file)
	}
	return roots, nil
}

// TLS is embedded by clients of an API that may be reached over TLS.
type TLS struct {
	Endpoint string          // as configured, "" for one of the vendor's
	Names    *names.Resolver // nil means none
}

var _ Truster = TLS{}

// Trust reads the authorities of the system: ten milliseconds of work that is
// otherwise done in the middle of the first handshake. It also begins to look up
// the host of the endpoint, or that of the proxy before it.
func (t TLS) Trust() {
	if u, err := url.Parse(t.Endpoint); err == nil && t.Names != nil {
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			u = proxy
		}
		t.Names.Ask(u.Hostname())
	}
	if strings.HasPrefix(t.Endpoint, "http:") {
		return // nobody to be trusted
	}
	_, _ = x509.SystemCertPool() // the handshake would say what is wrong
}

// CallerOptions say for whom a Caller calls.
type CallerOptions struct {
	Provider  string            // name in errors and logs
	Transport http.RoundTripper // nil means NewTransport(nil, true, nil)
	// Credentials are what no error may ever show, and what is read again when
	// the API refuses it; nil if there are none.
	Credentials *Credentials
	// Signed tells that requests bear a signature that expires: a clock that
	// differs is then named when one is refused.
	Signed  bool
	Timeout time.Duration // of a whole call; 0 means 10 s
	Log     *zap.Logger   // nil means none
	Metrics *Metrics      // nil means none
}

// Caller makes HTTP calls for one provider, usually through its SDK, and tells
// what went wrong as an *Error that is made from what came over the wire and
// never depends on the SDK's idea of it. It is safe for concurrent use.
type Caller struct {
	provider    string
	client      *http.Client
	credentials *Credentials
	signed      bool
	timeout     time.Duration
	log         *zap.Logger
	metrics     *Metrics

	mu     sync.Mutex // guards paused
	paused time.Time  // no request goes out before
}

// NewCaller returns a Caller.
func NewCaller(o CallerOptions) *Caller {
	c := &Caller{provider: o.Provider, credentials: o.Credentials, signed: o.Signed, timeout: o.Timeout, log: o.Log, metrics: o.Metrics}
	c.metrics.known(c.provider)
	if c.credentials == nil {
		c.credentials = &Credentials{}
	}
	if c.timeout == 0 {
		c.timeout = requestTimeout
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if o.Transport == nil {
		o.Transport = NewTransport(nil, true, nil)
	}
	c.client = &http.Client{
		Transport: recorder{o.Transport, c.credentials},
		// A redirected PATCH would become a GET, and a token would travel: the
		// redirect itself is the answer, and an error.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// HTTPClient is for the SDK. Its requests must bear the context that Call hands
// out; it has no timeout apart from that.
func (c *Caller) HTTPClient() *http.Client { return c.client }

// Call runs f, which makes one request with the context given to it, within the
// timeout of the Caller. If f fails, or the answer's status is no success, the
// result is an *Error for the operation op. That the caller's own context ended
// stays visible to errors.Is, as context.Canceled or DeadlineExceeded and as its
// cause; the kind is then Transient.
//
// When the API refuses the credentials they are read again; f runs a second time
// if they have changed meanwhile, as those in a file do.
//
// After an answer with Retry-After no call of this Caller, whatever for, goes out
// before the time has come (10 minutes at most): it fails as RateLimited with what
// is left to wait.
func (c *Caller) Call(ctx context.Context, op string, f func(context.Context) error) error {
	generation := c.credentials.Generation()
	err := c.try(ctx, op, f)
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Auth || ctx.Err() != nil {
		return err
	}
	changed, loadErr := c.credentials.renew(generation)
	if loadErr != nil {
		c.log.Warn("cannot read credentials again", zap.String("provider", c.provider), zap.Error(loadErr))
	}
	if !changed {
		return err
	}
	c.log.Info("credentials have changed, trying again with them", zap.String("provider", c.provider))
	return c.try(ctx, op, f)
}

// try is Call once.
func (c *Caller) try(ctx context.Context, op string, f func(context.Context) error) error {
	c.mu.Lock()
	pause := time.Until(c.paused)
	c.mu.Unlock()
	if pause > 0 {
		c.metrics.notAsked(c.provider)
		return &Error{Provider: c.provider, Op: op, Kind: RateLimited, Wait: pause,
			Detail: "not asked: the API wants to be left alone for a while"}
	}
	x := &exchange{}
	start := time.Now()
	callCtx, clock := startClock(context.WithValue(ctx, exchangeKey{}, x), c.timeout)
	err := f(callCtx)
	if errors.Is(err, context.Canceled) && context.Cause(callCtx) == errTimeout {
		err = errTimeout // some of those below tell the context's error and not its cause
	}
	x.waited = clock.end()
	result := c.classify(ctx, op, x, err)
	if e, ok := errors.AsType[*Error](result); ok && e.Kind == RateLimited && e.Wait > 0 {
		until := time.Now().Add(min(e.Wait, maxPause))
		c.mu.Lock()
		if until.After(c.paused) {
			c.metrics.paused(c.provider, min(until.Sub(c.paused), time.Until(until)))
			c.paused = until
		}
		c.mu.Unlock()
	}
	took := time.Since(start)
	c.metrics.Request(c.provider, op, x.status, took, result)
	c.log.Debug("provider call", zap.String("provider", c.provider), zap.String("op", op),
		zap.Int("status", x.status), zap.Duration("took", took), zap.Error(result))
	return result
}

// errTimeout is what a call ended by its own timeout fails with.
var errTimeout error = timeoutError{}

// timeoutError is context.DeadlineExceeded in words that help an operator.
type timeoutError struct{}

func (timeoutError) Error() string   { return "no answer in time" }
func (timeoutError) Is(e error) bool { return e == context.DeadlineExceeded }

// exchange is what came over the wire for one request. It is written by the
// goroutine that runs the call and read when that is over.
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
// who it is: credentials of the API over plain HTTP, whether as they are or as a
// signature, or those of a proxy.
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

// Get is for calls without an SDK: it asks url, requires status 200 and hands
// the body to read.
func (c *Caller) Get(ctx context.Context, op, url string, read func(io.Reader) error) error {
	return c.Call(ctx, op, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := c.client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			io.Copy(io.Discard, resp.Body) // for the record; the status is the error
			return errors.New("status 200 was expected")
		}
		return read(resp.Body)
	})
}
