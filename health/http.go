package health

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"berth/internal/certs"
)

// HTTP is a request to an HTTP server. The server is well if it answers with a code of
// Codes and with a body in which Contains and Matches are found.
type HTTP struct {
	URL             string // without a user or password
	Method          string
	Codes           [][2]int // ranges with both ends
	Contains        string
	Matches         *regexp.Regexp // nil matches everything
	Headers         map[string]string
	CAFile          string // authorities instead of the system's
	CertFile        string
	KeyFile         string
	FollowRedirects bool
}

// maxBody bounds how much of a body is read, in bytes.
const maxBody = 1 << 20

// userAgent is how a server can tell the checks apart from its users.
const userAgent = "berth-health"

// Check is a Check.
func (h HTTP) Check(ctx context.Context) error {
	conf, err := h.tls()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, h.Method, h.URL, nil)
	if err != nil {
		return errors.New("the request cannot be made of url and method")
	}
	req.Header.Set("User-Agent", userAgent)
	for name, value := range h.Headers {
		if textproto.CanonicalMIMEHeaderKey(name) == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	transport := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if h.FollowRedirects {
		client.CheckRedirect = h.redirected
	}
	res, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the URL may have a key in its query
		}
		return reasonOf(ctx, err)
	}
	defer res.Body.Close()
	if !slices.ContainsFunc(h.Codes, func(r [2]int) bool { return r[0] <= res.StatusCode && res.StatusCode <= r[1] }) {
		return fmt.Errorf("HTTP status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	switch {
	case err != nil:
		return reasonOf(ctx, fmt.Errorf("read body: %w", err))
	case !bytes.Contains(body, []byte(h.Contains)):
		return fmt.Errorf("HTTP status %d, and the text of contains is not in the body (bytes: %d)", res.StatusCode, len(body))
	case h.Matches != nil && !h.Matches.Match(body):
		return fmt.Errorf("HTTP status %d, and the body (bytes: %d) does not match the expression of matches", res.StatusCode, len(body))
	}
	return nil
}

// maxRedirects is how many redirects are followed.
const maxRedirects = 10

// redirected prepares the request that follows a redirect. The headers of the
// configuration and the URL are for the server of the URL alone: they are not sent to
// another server, nor again after another server was asked.
func (h HTTP) redirected(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	req.Header.Del("Referer") // the URL before may have a key in its query
	if slices.ContainsFunc(slices.Concat(via[1:], []*http.Request{req}), func(r *http.Request) bool { return origin(r.URL) != origin(via[0].URL) }) {
		for name := range h.Headers {
			req.Header.Del(name)
		}
		req.Host = ""
		req.Header.Set("User-Agent", userAgent)
	}
	return nil
}

// origin returns scheme, host and port of a URL (RFC 6454).
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "http":
		port = "80"
	default:
		port = "443"
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// Usable returns an error while a file that the check needs cannot be used.
func (h HTTP) Usable() error {
	_, err := h.tls()
	return err
}

// tls reads the files.
func (h HTTP) tls() (*tls.Config, error) {
	return certs.Client{CAFile: h.CAFile, CertFile: h.CertFile, KeyFile: h.KeyFile}.Now()
}
