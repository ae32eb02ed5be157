package providers_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/names"
	"berth/providers"
)

// named is an API in virtual time that is reached by name.
type named struct {
	*testing.T
	resolver  *names.Resolver
	transport *http.Transport

	mu     sync.Mutex
	says   string        // address of the name
	after  time.Duration // that the name server takes
	slow   time.Duration // that the API takes
	dialed []string
}

func newNamed(t *testing.T, says string) *named {
	c := &named{T: t, says: says, resolver: names.New("", nil), transport: providers.NewTransport(nil, false, nil)}
	c.resolver.Lookup = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		c.mu.Lock()
		says, after := c.says, c.after
		c.mu.Unlock()
		select {
		case <-time.After(after):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if network == "ip6" {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return []netip.Addr{netip.MustParseAddr(says)}, nil
	}
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		slow := c.slow
		c.mu.Unlock()
		select {
		case <-time.After(slow):
		case <-r.Context().Done():
		}
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(l)
	}()
	c.transport.DisableKeepAlives = true
	c.transport.DialContext = (&names.Dialer{Names: c.resolver, Timeout: 3 * time.Second, Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		c.mu.Lock()
		c.dialed = append(c.dialed, address)
		c.mu.Unlock()
		near, far := net.Pipe()
		select {
		case l.conns <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}).DialContext
	t.Cleanup(func() {
		c.transport.CloseIdleConnections()
		srv.Close()
		<-served
		c.resolver.Close()
	})
	return c
}

// set changes the world when nothing is going on in it.
func (c *named) set(f func()) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *named) caller(timeout time.Duration, secrets ...string) *providers.Caller {
	c.Helper()
	credentials, err := providers.NewCredentials(func() ([]string, error) { return secrets, nil })
	if err != nil {
		c.Fatal(err)
	}
	return providers.NewCaller(providers.CallerOptions{Provider: "test", Transport: c.transport, Timeout: timeout, Credentials: credentials})
}

func askNamed(ctx context.Context, caller *providers.Caller, url string) (time.Duration, error) {
	begin := time.Now()
	err := caller.Get(ctx, "ask", url, func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	return time.Since(begin), err
}

func TestTimeForAnAnswerDoesNotIncludeLookingUpAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNamed(t, "192.0.2.1")
		c.after, c.slow = 10*time.Second, 4*time.Second
		caller := c.caller(5 * time.Second) // as the webhook's and that of the metadata service
		if took, err := askNamed(t.Context(), caller, "http://api.example.net/"); err != nil || took != 14*time.Second {
			t.Errorf("want an answer after 14 s, got %v after %v", err, took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newNamed(t, "192.0.2.1")
		c.after, c.slow = 10*time.Second, time.Hour
		took, err := askNamed(t.Context(), c.caller(5*time.Second), "http://api.example.net/")
		if took != 15*time.Second || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("want no answer in time after 15 s, got %v after %v", err, took)
		}
	})
}

func TestAnAttemptThatEndsWhileANameIsLookedUpSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNamed(t, "192.0.2.1")
		c.after = 5 * time.Second
		caller := c.caller(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := askNamed(ctx, caller, "http://api.example.net/"); err == nil || err.Error() != "test: ask: looking up api.example.net: context deadline exceeded" {
			t.Errorf("want to be told what was waited for, got %v", err)
		}
		// The look-up has gone on.
		if took, err := askNamed(t.Context(), caller, "http://api.example.net/"); err != nil || took != 4*time.Second {
			t.Errorf("want an answer after 4 s, got %v after %v", err, took)
		}
	})
}

func TestATokenInClearTextWaitsForAFreshLookUp(t *testing.T) {
	proxy := func(text string) func(*http.Request) (*url.URL, error) {
		u, err := url.Parse(text)
		return func(*http.Request) (*url.URL, error) { return u, err }
	}
	const former, fresh = "192.0.2.1", "192.0.2.2"
	for _, tt := range []struct {
		name, url string
		secrets   []string
		proxy     func(*http.Request) (*url.URL, error)
		want      string
	}{
		{"API over HTTP", "http://api.example.net:80/", []string{"T0KEN-S3CRET"}, nil, fresh + ":80"},
		{"API over HTTP by a proxy", "http://api.example.net:80/", []string{"T0KEN-S3CRET"}, proxy("http://proxy.example.net:3128"), fresh + ":3128"},
		{"API over HTTPS", "https://api.example.net:443/", []string{"T0KEN-S3CRET"}, nil, former + ":443"},
		{"API over HTTPS by a proxy", "https://api.example.net:443/", []string{"T0KEN-S3CRET"}, proxy("http://proxy.example.net:3128"), former + ":3128"},
		{"proxy with a password", "https://api.example.net:443/", nil, proxy("http://user:pass@proxy.example.net:3128"), fresh + ":3128"},
		{"metadata service over HTTP", "http://api.example.net:80/", nil, nil, former + ":80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newNamed(t, former)
				for _, host := range []string{"api.example.net", "proxy.example.net"} {
					c.resolver.Ask(host)
				}
				time.Sleep(5 * time.Second)
				c.set(func() { c.says, c.after = fresh, 5*time.Second })
				c.transport.Proxy = tt.proxy
				_, _ = askNamed(t.Context(), c.caller(0, tt.secrets...), tt.url) // only the look-up matters
				c.set(func() {
					if d := cmp.Diff([]string{tt.want}, c.dialed); d != "" {
						t.Errorf("connections: want-, got+:\n%s", d)
					}
				})
			})
		})
	}
}

func TestTheNameOfTheEndpointIsLookedUpBeforeTheFirstClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newNamed(t, "192.0.2.1")
		c.after = 5 * time.Second
		providers.TLS{Endpoint: "http://api.example.net/v1", Names: c.resolver}.Trust()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		c.set(func() { c.after = time.Hour })
		if took, err := askNamed(t.Context(), c.caller(0), "http://api.example.net/"); err != nil || took != 0 {
			t.Errorf("want an answer at once, got %v after %v", err, took)
		}
	})
}

// A notify script is a new process for each event: the answers of the former one are
// in the run directory.
func TestAnAPIOverHTTPSIsReachedAtOnceByTheNextProcessThoughNoNameServerAnswers(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	at, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	dir := t.TempDir()
	call := func(answers bool) {
		t.Helper()
		r := names.New(dir, nil)
		defer r.Close()
		r.Lookup = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			if answers && network == "ip4" && host == "example.com" { // the name in the certificate
				return []netip.Addr{netip.MustParseAddr(at.Hostname())}, nil
			}
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		transport := providers.NewTransport(r, false, roots)
		defer transport.CloseIdleConnections()
		credentials, err := providers.NewCredentials(func() ([]string, error) { return []string{"T0KEN-S3CRET"}, nil })
		if err != nil {
			t.Fatal(err)
		}
		c := providers.NewCaller(providers.CallerOptions{Provider: "test", Transport: transport, Credentials: credentials})
		if _, err := askNamed(t.Context(), c, "https://example.com:"+at.Port()+"/"); err != nil {
			t.Errorf("name servers answer: %t: %v", answers, err)
		}
	}
	// One family is not answered, and delays no dial; the end of the process comes
	// before that of the look-up, so the answer is stored as soon as it is there.
	call(true)
	if _, err := os.Stat(filepath.Join(dir, "names.json")); err != nil {
		t.Fatal(err)
	}
	call(false)
}
