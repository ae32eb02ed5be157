package election

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/certs"
	"berth/internal/names"
	"berth/internal/section"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Options say where etcd is and how to authenticate there.
type Options struct {
	Endpoints []string // URLs
	CAFile    string   // instead of the system's certificate authorities
	CertFile  string   // client certificate, with KeyFile
	KeyFile   string
	Username  string
	Password  string
	Names     *names.Resolver // nil means one that keeps nothing on disk
}

// Times of connections. A connection that died with the network must not be
// waited for when the network is back: unacknowledged bytes end it after a second
// (grpc derives TCP_USER_TIMEOUT from the keep-alive's timeout, see tcp(7)), and
// the next is tried at short intervals.
const (
	connectTimeout   = time.Second // without looking up the name, see names.Budget
	keepAliveTimeout = time.Second
	keepAliveTime    = 10 * time.Second // the least that grpc allows
	reconnectFirst   = 50 * time.Millisecond
	reconnectLongest = 500 * time.Millisecond
)

// Etcd is the members of an etcd cluster, each with a connection of its own,
// made when it is first needed: a request goes to the others while a member hangs, which
// a balancer that chooses among live connections does not achieve. It is safe for
// concurrent use.
type Etcd struct {
	options Options
	tls     bool // an endpoint has TLS
	history *history

	endpoints []endpoint
	current   atomic.Int64 // the one that answered last
	named     sync.Once    // look-ups of all endpoints have begun
}

type endpoint struct {
	reached atomic.Bool // this process was connected to it

	mu     sync.Mutex
	client *clientv3.Client // nil until needed
}

// NewEtcd checks the options. It makes no connection.
func NewEtcd(o Options) (*Etcd, error) {
	if len(o.Endpoints) == 0 {
		return nil, wrong("endpoints", errors.New("missing; write the URLs of the etcd members, such as [https://192.0.2.1:2379]"))
	}
	if o.Names == nil {
		o.Names = names.New("", nil)
	}
	e := &Etcd{options: o, endpoints: make([]endpoint, len(o.Endpoints)), history: newHistory()}
	if !slices.ContainsFunc(o.Endpoints, func(u string) bool { return strings.HasPrefix(u, "https://") }) {
		return e, nil
	}
	e.tls = true
	if err := e.certs().Check(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Etcd) certs() certs.Client {
	o := e.options
	return certs.Client{Section: "etcd", CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile}
}

// tlsOf returns the TLS configuration for an endpoint, nil without TLS.
func (e *Etcd) tlsOf(endpoint string) *tls.Config {
	if !e.tls {
		return nil
	}
	host := endpoint // a name that no certificate has
	if u, err := url.Parse(endpoint); err == nil {
		host = u.Hostname()
	}
	return e.certs().Config(host)
}

// wrong returns an error about the value of a key of the configuration.
func wrong(key string, err error) error {
	return &section.Problem{Key: "etcd." + key, Text: err.Error()}
}

// Close ends all connections.
func (e *Etcd) Close() error {
	var errs []error
	for i := range e.endpoints {
		p := &e.endpoints[i]
		p.mu.Lock()
		if p.client != nil {
			errs = append(errs, p.client.Close())
		}
		p.client = nil
		p.mu.Unlock()
	}
	return errors.Join(errs...)
}

// client returns the connection to an endpoint. It does not block.
func (e *Etcd) client(i int) (*clientv3.Client, error) {
	// An endpoint is asked when another does not answer, and its address must be
	// known by then.
	e.named.Do(func() {
		for _, text := range e.options.Endpoints {
			if u, err := url.Parse(text); err == nil && !throughProxy(u) {
				e.options.Names.Ask(u.Hostname())
			}
		}
	})
	p := &e.endpoints[i]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil {
		return p.client, nil
	}
	options := append(reasons(), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: reconnectFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectLongest},
		MinConnectTimeout: connectTimeout,
	}))
	if dial := e.dialer(i); dial != nil {
		options = append(options, grpc.WithContextDialer(dial))
	}
	if e.options.Username != "" {
		options = append(options, newLogin(e.options.Username, e.options.Password).options()...)
	}
	options = append(options, e.history.options()...)
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            e.options.Endpoints[i : i+1],
		DialTimeout:          connectTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		TLS:                  e.tlsOf(e.options.Endpoints[i]),
		// The caller retries, at other endpoints.
		MaxUnaryRetries: 1,
		Logger:          zap.NewNop(),
		DialOptions:     options,
	})
	if err != nil {
		return nil, err
	}
	p.client = c
	return c, nil
}

// dialer returns what connects to an endpoint, nil where grpc does that itself. The
// time that grpc gives an attempt to connect may be too short to look up a name in;
// the look-up goes on, and one of the attempts that follow finds its answer.
func (e *Etcd) dialer(i int) func(context.Context, string) (net.Conn, error) {
	u, err := url.Parse(e.options.Endpoints[i])
	if err != nil {
		return nil // the client says what is wrong with it
	}
	if throughProxy(u) { // which grpc alone can do
		return nil
	}
	d := &names.Dialer{Names: e.options.Names, Timeout: connectTimeout,
		Dial: (&net.Dialer{KeepAlive: -1}).DialContext} // grpc sends pings of its own
	inClear := u.Scheme == "http" && e.options.Username != ""
	reached := &e.endpoints[i].reached
	return func(ctx context.Context, address string) (net.Conn, error) {
		// An address that a former process looked up, perhaps before a reboot, may be that of
		// another machine by now. An address to which this process was connected is as good
		// as the connection was: a lease must not end because a name server does not answer.
		if inClear && !reached.Load() {
			ctx = names.Unproven(ctx)
		}
		c, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			reached.Store(true)
		}
		return c, err
	}
}

// throughProxy reports whether the environment names a proxy for an endpoint. As
// grpc does, it asks for that of https always.
func throughProxy(u *url.URL) bool {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: u.Host}})
	return err != nil || proxy != nil
}

// await waits until the name of an endpoint is looked up, or cannot be.
func (e *Etcd) await(ctx context.Context, i int) {
	if u, err := url.Parse(e.options.Endpoints[i]); err == nil && !throughProxy(u) {
		e.options.Names.Await(ctx, u.Hostname())
	}
}

// pick returns the endpoint that answered last, or the nth after it.
func (e *Etcd) pick(n int) int { return (int(e.current.Load()) + n) % len(e.endpoints) }

// prefer remembers an endpoint that answers.
func (e *Etcd) prefer(i int) { e.current.Store(int64(i)) }

// at names the endpoint in an error.
func (e *Etcd) at(i int, err error) error {
	return fmt.Errorf("%s: %w", e.options.Endpoints[i], err)
}

const (
	// hedge is how long one endpoint is waited for before the next is asked as
	// well.
	hedge = 300 * time.Millisecond
	// requestTime bounds one request to one endpoint.
	requestTime = 2 * time.Second
)

// call asks one endpoint after the other, each beside those that were asked
// before it, until one answers or ctx ends: op must be safe to be done more than
// once. An answer that no other endpoint would change is an error too, see
// definitive. The error when ctx ends is its cause with the last failure of each
// endpoint.
func call[T any](ctx context.Context, e *Etcd, op func(context.Context, *clientv3.Client) (T, error)) (T, error) {
	type answer struct {
		value    T
		err      error
		endpoint int
	}
	callCtx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	var mu sync.Mutex
	failures := make([]error, len(e.endpoints))
	var asked sync.WaitGroup
	defer asked.Wait() // after the cancel below
	defer cancel()
	ask := func(i int) {
		asked.Go(func() {
			a := answer{endpoint: i}
			opCtx, cancel := context.WithTimeout(callCtx, requestTime)
			defer cancel()
			var c *clientv3.Client
			if c, a.err = e.client(i); a.err == nil {
				a.value, a.err = op(opCtx, c)
			}
			if a.err != nil && !definitive(a.err) {
				mu.Lock()
				defer mu.Unlock()
				failures[i] = e.at(i, a.err)
				return
			}
			select {
			case answers <- a:
			case <-callCtx.Done():
			}
		})
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			asked.Wait()
			var none T
			if err := inLine(failures); err != nil {
				return none, fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return none, context.Cause(ctx)
		case a := <-answers:
			e.prefer(a.endpoint)
			return a.value, a.err
		case <-next.C:
			ask(e.pick(n))
			n++
			next.Reset(hedge)
		}
	}
}

// inLine puts what the endpoints failed with into one error, nil if none did.
func inLine(failures []error) (err error) {
	for _, f := range failures {
		switch {
		case f == nil:
		case err == nil:
			err = f
		default:
			err = fmt.Errorf("%w; %w", err, f)
		}
	}
	return err
}

// definitive reports whether an error is etcd's answer and not the lack of one.
func definitive(err error) bool {
	return errors.Is(err, rpctypes.ErrLeaseNotFound) || oversized(err) || malformed(err) || stubborn(err)
}

// malformed reports whether no etcd carries out such a transaction.
func malformed(err error) bool {
	return errors.Is(err, rpctypes.ErrEmptyKey) || errors.Is(err, rpctypes.ErrDuplicateKey) || errors.Is(err, rpctypes.ErrValueProvided) ||
		errors.Is(err, rpctypes.ErrLeaseProvided)
}

// oversized reports whether etcd takes no request of that size: its --max-txn-ops and
// --max-request-bytes can be less than the defaults.
func oversized(err error) bool {
	return errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, rpctypes.ErrRequestTooLarge)
}

// stubborn reports whether etcd will give the same answer until a person has set
// something right.
func stubborn(err error) bool { return errors.Is(err, rpctypes.ErrNoSpace) || refused(err) }

// refused reports whether etcd denies authentication or permission.
func refused(err error) bool {
	for _, r := range []error{rpctypes.ErrAuthFailed, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound} {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}
