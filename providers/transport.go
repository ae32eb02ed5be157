package providers

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"berth/internal/files"
	"berth/internal/names"
)

// Limits that hold for every provider. A takeover waits for these calls, so
// they are short; the refresher tries again anyway.
const (
	connectTimeout = 3 * time.Second  // TCP, for each address; the TLS handshake has the same again
	requestTimeout = 10 * time.Second // from the first to the last byte

	// maxConns bounds the connections to a host. One connection of HTTP/2 carries a
	// burst, but net/http begins another for each request that comes before the first
	// one stands or while it carries all streams that the server allows: a thousand
	// handshakes take longer than a thousand claims. Over HTTP/1.1 maxConns is how many
	// requests run at a time.
	maxConns = 32

	// A connection stays open for the calls that follow a claim at once (read
	// back, settle checks at 2, 5 and 15 s) and no longer: a takeover minutes later
	// must not start on a connection that died unseen in between.
	idleTimeout = 20 * time.Second

	// The death of a pooled connection is noticed within two seconds: a ping after
	// one second of silence and one second for its answer (HTTP/2), or no
	// acknowledgement of what was sent (TCP, see dial.go).
	pingAfter   = time.Second
	pingTimeout = time.Second
)

// NewTransport returns the way to the network that all providers share; proxy
// says whether the proxy variables of the environment count (see
// http.ProxyFromEnvironment), and roots which authorities are trusted, nil being
// those of the system. Hosts are looked up by resolver, which has a time limit of
// its own; nil means one that stores nothing on disk.
//
// The transport makes no hidden retries of its own. The retries of net/http stay:
// when a reused connection turns out dead net/http dials anew, for a write only if not one
// byte of the request was sent, for a read also if the answer never began, and for
// HTTP/2 if the server says that it did not process the request. Hence no write can
// reach a server twice, and a connection that was closed by the server while idle
// costs no failed claim.
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

// maxAuthorities bounds a file of certificates, in bytes. The file of a system, with
// all public authorities, has a quarter of a million.
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
// the host of the endpoint, or of the proxy in front of the endpoint.
func (t TLS) Trust() {
	if u, err := url.Parse(t.Endpoint); err == nil && t.Names != nil {
		if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
			u = proxy
		}
		t.Names.Ask(u.Hostname())
	}
	if strings.HasPrefix(t.Endpoint, "http:") {
		return // no certificate to check
	}
	_, _ = x509.SystemCertPool() // its error comes again in the handshake
}
