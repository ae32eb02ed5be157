package patroni

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"berth/internal/certs"
)

// Role is what a host may be in the cluster.
type Role string

// The roles.
const (
	Leader      Role = "leader"
	Replica     Role = "replica"
	SyncStandby Role = "sync-standby"
)

// path is the endpoint that answers 200 on a host with the role. /leader asks for the
// leader key, on the leader of a standby cluster as well, where PostgreSQL is read-only;
// /replica for a replica that runs and may be used by clients (tag noloadbalance);
// /synchronous for such a replica that is a synchronous standby.
func (r Role) path() string {
	switch r {
	case Leader:
		return "/leader"
	case SyncStandby:
		return "/synchronous"
	default:
		return "/replica"
	}
}

// String returns the role as people write it.
func (r Role) String() string {
	switch r {
	case Leader:
		return "the leader"
	case SyncStandby:
		return "a synchronous standby"
	default:
		return "a replica"
	}
}

// Server says where Patroni's REST interface is.
type Server struct {
	URL        string // scheme, loopback address and port
	ServerName string // in its certificate; "" for the address
	CAFile     string // instead of the system's certificate authorities
	CertFile   string // certificate of the client, with KeyFile
	KeyFile    string
}

// connectTimeout bounds connecting, on loopback, and the TLS handshake each.
const connectTimeout = time.Second

// headerSize bounds the header of an answer, bodySize what is read of its body, in bytes.
const (
	headerSize = 16 << 10
	bodySize   = 64 << 10
)

// transport returns what makes the requests, each on a connection of its own: none waits
// for one before, and none is on a connection that has died.
func (s Server) transport() (http.RoundTripper, error) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	files := certs.Client{Section: "follow.patroni", CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile}
	if err := files.Check(); err != nil {
		return nil, err
	}
	name := s.ServerName
	if name == "" {
		name = u.Hostname()
	}
	conf := files.Config(name)
	conf.ServerName = name
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    connectTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: headerSize,
	}, nil
}

// errNo says that Patroni answered, and the answer is no.
var errNo = errors.New("no")

// statusError is an answer that has no role in Patroni's REST interface.
type statusError struct{ status int }

// Error returns the status.
func (e statusError) Error() string {
	return fmt.Sprintf("it answers with status %d; want 200 or 503", e.status)
}

// Is makes it a no.
func (statusError) Is(target error) bool { return target == errNo }

// ask makes one request, calls answered with what came of it, and returns after the
// connection has ended: nil is a yes, an error that is errNo a no, and any other error
// says that there is no answer.
func ask(ctx context.Context, via http.RoundTripper, where string, answered func(error)) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no answer"))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		answered(err)
		return
	}
	req.Header.Set("User-Agent", "berth")
	resp, err := via.RoundTrip(req) // follows no redirection
	switch {
	case err != nil && ctx.Err() != nil:
		answered(context.Cause(ctx))
		return
	case err != nil:
		answered(err)
		return
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		answered(nil)
	case http.StatusServiceUnavailable:
		answered(errNo)
	default:
		answered(statusError{resp.StatusCode})
	}
	// Patroni logs an error for a client that leaves before it has written all.
	_, _ = io.CopyN(io.Discard, resp.Body, bodySize)
}

// Ask asks once whether this host has a role. An error says that there is no answer, or
// one that is not Patroni's.
func (s Server) Ask(ctx context.Context, r Role) (has bool, err error) {
	via, err := s.transport()
	if err != nil {
		return false, err
	}
	ask(ctx, via, s.URL+r.path(), func(answer error) {
		if has = answer == nil; !errors.Is(answer, errNo) || isOdd(answer) {
			err = answer
		}
	})
	return has, err
}

// isOdd reports whether an answer is not one of Patroni's.
func isOdd(answer error) bool {
	_, odd := errors.AsType[statusError](answer)
	return odd
}
