package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"berth/internal/certs"
	"berth/internal/journal"
	"berth/internal/section"

	"go.uber.org/zap"
)

const (
	// DefaultURL is where a client asks if it is not told where, with the port of LinK.
	DefaultURL = "http://127.0.0.1:1313"

	// connectTimeout bounds a connection, with the look-up of the host's name.
	connectTimeout = 3 * time.Second
	// callTimeout bounds a call, from the look-up to the end of the answer.
	callTimeout = 10 * time.Second
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// maxAnswer bounds an answer, in bytes. The view of a cluster with 10,000 addresses
	// has less.
	maxAnswer = 16 << 20
)

// Access says where the API of a berth is, and as which user to ask it. Only the URL must
// be set.
type Access struct {
	URL                string
	Username, Password string
	CAFile             string // instead of the system's authorities
	CertFile, KeyFile  string // of the client, for a server that asks for a certificate
}

// Client asks the API of a berth. Its methods may be called by several goroutines at once.
// Each call ends after ten seconds. A call that fails is not repeated; its error is an
// *Error.
type Client struct {
	access Access
	base   string // of each URL, without a slash at the end
	http   *http.Client
}

// NewClient returns a client. It makes no connection. The error names the option of the
// command that is to be written otherwise, and never the value of one that can have a
// password in it.
func NewClient(a Access) (*Client, error) {
	u, err := a.check()
	if err != nil {
		return nil, err
	}
	c := &Client{access: a, base: strings.TrimRight(u.String(), "/")}
	transport := &http.Transport{
		// It asks a loopback address and localhost without a proxy.
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: connectTimeout}).DialContext,
		DisableKeepAlives: true, // a command makes a call or two

		MaxResponseHeaderBytes: maxHeader,
	}
	if u.Scheme == "https" {
		if transport.TLSClientConfig, err = (certs.Client{CAFile: a.CAFile, CertFile: a.CertFile, KeyFile: a.KeyFile}).Now(); err != nil {
			if p, ok := errors.AsType[*section.Problem](err); ok {
				err = fmt.Errorf("--%s: %s", p.Key, p.Text)
			}
			return nil, err
		}
	}
	c.http = &http.Client{
		Transport: transport,
		// A server must not have the credentials sent to another one.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Warn tells if the password goes to another host in clear text.
func (c *Client) Warn(j *journal.Journal) {
	u, err := url.Parse(c.base)
	if err == nil && u.Scheme == "http" && c.access.Password != "" && !isLoopback(net.JoinHostPort(u.Hostname(), u.Port())) {
		j.Tell(exposed, zap.String("url", c.base))
	}
}

// check returns the URL, or the first mistake.
func (a Access) check() (*url.URL, error) {
	u, err := url.Parse(a.URL)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return nil, errors.New("--url: write the URL of a berth with api.listen, such as " + DefaultURL + " or https://lb1.example.org:1313")
	case u.User != nil:
		// Every user of the host can read the arguments of a process.
		return nil, errors.New("--url: found a user in the URL; write --username, and --password-file or the variable BERTH_API_PASSWORD")
	case a.Username == "" && a.Password != "":
		return nil, errors.New("--username: missing; it is the name of the user whose password is given")
	case a.Username != "" && a.Password == "":
		return nil, errors.New("--password-file: missing; write the file with the user's password, or set the variable BERTH_API_PASSWORD")
	case strings.Contains(a.Username, ":"):
		return nil, errors.New("--username: found a colon, which no name of a user has (RFC 7617)")
	case (a.CertFile == "") != (a.KeyFile == ""):
		return nil, errors.New("--cert-file and --key-file: write both or none")
	case u.Scheme == "http" && a.CAFile+a.CertFile != "":
		return nil, errors.New("--ca-file and --cert-file: a URL that begins with http:// has no TLS; write https://")
	}
	return u, nil
}

// call makes a call and reads the answer into to, which may be nil. The path is escaped.
func (c *Client) call(ctx context.Context, method, path string, body, to any) error {
	target := c.base + path
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return &Error{URL: target, Text: err.Error()}
		}
		content = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, errSlow)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return &Error{URL: target, Text: err.Error()}
	}
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.access.Username != "" {
		request.SetBasicAuth(c.access.Username, c.access.Password)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return c.unanswered(ctx, request, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return c.unanswered(ctx, request, err)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return c.refused(target, answer, text)
	case len(text) > maxAnswer:
		return &Error{URL: target, Status: answer.StatusCode, Text: fmt.Sprintf("the answer has more than %d bytes; is that the API of berth?", maxAnswer)}
	case to == nil:
		return nil
	}
	if err := json.Unmarshal(text, to); err != nil {
		return &Error{URL: target, Status: answer.StatusCode, Text: "the answer is not that of berth's API; is --url right?", Err: err}
	}
	harmless(reflect.ValueOf(to))
	return nil
}
