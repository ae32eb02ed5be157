package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"unicode"
)

// Error says why a call of the API has failed, in one line, and without a password.
type Error struct {
	URL    string // that was asked
	Status int    // of the answer, 0 without one
	Text   string // the reason, and what to do about it
	Err    error  // the cause, may be nil
}

// Error returns "URL: text".
func (e *Error) Error() string { return e.URL + ": " + e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var errSlow = fmt.Errorf("no whole answer within %v", callTimeout)

// unanswered returns the error of a call that got no whole answer.
func (c *Client) unanswered(ctx context.Context, request *http.Request, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // it repeats the URL
	}
	text := c.reason(ctx, err)
	if proxy, bad := http.ProxyFromEnvironment(request); bad == nil && proxy != nil {
		text = "through the proxy " + proxy.Host + " of the environment (the variable NO_PROXY excepts hosts): " + text
	}
	return &Error{URL: request.URL.String(), Text: oneLine(text), Err: err}
}

// reason says why there was no answer, and what to do about it.
func (c *Client) reason(ctx context.Context, err error) string {
	unknown, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	name, isName := errors.AsType[x509.HostnameError](err)
	invalid, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	header, isHeader := errors.AsType[tls.RecordHeaderError](err)
	lookUp, isLookUp := errors.AsType[*net.DNSError](err)
	dial, isDial := errors.AsType[*net.OpError](err)
	switch {
	case isUnknown && c.access.CAFile == "":
		return "the certificate of the server is not from an authority that this host knows; write --ca-file FILE, the certificate of its authority"
	case isUnknown:
		return fmt.Sprintf("the certificate of the server is not from the authority in %s (--ca-file): %v", c.access.CAFile, unknown)
	case isName:
		return fmt.Sprintf("%v; write a name of the certificate in --url", name)
	case isInvalid:
		return fmt.Sprintf("the certificate of the server cannot be used: %v", invalid)
	case isHeader && string(header.RecordHeader[:]) == "HTTP/", strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the server there does not speak TLS; write http:// in --url, or set api.tls-cert-file there"
	case strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`):
		return "the server there speaks TLS; write https:// in --url"
	case strings.Contains(err.Error(), "tls: certificate required"), strings.Contains(err.Error(), "tls: bad certificate"):
		return "the server does not accept this client's certificate; write --cert-file and --key-file with one that it does"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused; does berth run there with api.listen?"
	case isLookUp && lookUp.IsNotFound:
		return fmt.Sprintf("there is no host %s; is --url right?", lookUp.Name)
	case isLookUp:
		return fmt.Sprintf("look up %s: %s; is DNS well on this host?", lookUp.Name, lookUp.Err)
	case isDial && dial.Op == "dial" && dial.Timeout():
		return fmt.Sprintf("no connection within %v; is the host up, and does a firewall let its port through?", connectTimeout)
	case errors.Is(context.Cause(ctx), errSlow):
		return fmt.Sprintf("%v; is the host overloaded, or berth stopped by a signal there?", errSlow)
	case context.Cause(ctx) != nil:
		return context.Cause(ctx).Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return "the server closed the connection without an answer; did berth end there, has it too many connections, or does it speak TLS?"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow.Error()
	}
	return err.Error()
}

// refused returns the error of an answer with a status that is not a success.
func (c *Client) refused(target string, answer *http.Response, body []byte) error {
	said := said(body)
	e := &Error{URL: target, Status: answer.StatusCode}
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized && c.access.Username == "":
		e.Text = "the server wants a user and a password; write --username, and --password-file or the variable BERTH_API_PASSWORD"
	case status == http.StatusUnauthorized:
		e.Text = fmt.Sprintf("the server does not accept user %q with this password; see --username, and --password-file or the variable BERTH_API_PASSWORD", c.access.Username)
	case status >= 300 && status < 400:
		e.Text = "the server sends to another URL" + elsewhere(answer) + ", which berth does not follow; write the URL of berth itself in --url"
	case strings.Contains(string(body), "HTTP request") && strings.Contains(string(body), "HTTPS"):
		e.Text = "the server there speaks TLS; write https:// in --url"
	case said != "":
		e.Text = said
	default:
		e.Text = fmt.Sprintf("%s, and no reason that berth's API would give; is --url right?", cmp.Or(answer.Status, fmt.Sprint(status)))
	}
	e.Text = oneLine(e.Text)
	return e
}

// said returns the reason in the answer of berth's API, "" if that is another one.
func said(body []byte) string {
	var e struct {
		Error string `json:"error"`
		Msg   string `json:"msg"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return ""
	}
	return cmp.Or(e.Error, e.Msg)
}

// elsewhere returns where an answer sends a client, for people.
func elsewhere(answer *http.Response) string {
	u, err := answer.Location()
	if err != nil {
		return ""
	}
	return " at " + u.Scheme + "://" + u.Host
}

// maxText bounds what an error repeats of an answer, in characters.
const maxText = 1000

// oneLine returns a text without what would leave its line or change a terminal.
func oneLine(text string) string {
	plain := []rune(strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' {
			return ' '
		}
		return r
	}, text)), " "))
	if len(plain) > maxText {
		return string(plain[:maxText]) + "..."
	}
	return string(plain)
}
