package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxDetail    = 200            // characters of the server's own words
	maxRequestID = 80             // characters
	maxWait      = 24 * time.Hour // the most that Retry-After is believed
)

// NotManagedError returns the error for an address that the account does not have.
func NotManagedError(provider, op string, addr netip.Addr) *Error {
	return &Error{Provider: provider, Op: op, Kind: NotFound, Detail: addr.String() + " is not a floating IP of this account"}
}

// EmptyError returns the error for an account without floating IPs.
func EmptyError(provider, op string) *Error {
	return &Error{Provider: provider, Op: op, Kind: NotFound, Detail: "the account has no floating IP"}
}

// NotTheAddress returns err for a request that cannot tell whether the account has
// an address: an API that does not know a path, a server, or an object of its own
// list says nothing about the address. The kind is then Invalid instead of NotFound.
func NotTheAddress(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != NotFound {
		return err
	}
	other := *e // which may be shared
	other.Kind = Invalid
	return &other
}

// classify makes the error of a call from what came over the wire, or nil if the
// call succeeded. err is what the SDK returned, which counts only where there was no
// answer or a successful one that could not be read.
func (c *Caller) classify(ctx context.Context, op string, x *exchange, err error) error {
	ok := x.status >= 200 && x.status <= 299
	if err == nil && (ok || x.status == 0) {
		return nil
	}
	e := &Error{Provider: c.provider, Op: op, Kind: Transient, Status: x.status, RequestID: c.requestID(x.header)}
	switch {
	case ctx.Err() != nil && err != nil:
		e.Cause = endedError(ctx)
		if x.waited != "" {
			e.Detail = "looking up " + x.waited
		}
	case x.status == 0:
		e.Cause = c.quiet(err, "")
	case ok:
		e.Cause = c.quiet(err, "read answer: ")
		e.Detail = c.contentType(x.header)
	default:
		var asked bool
		e.Wait, asked = retryAfter(x.header, time.Now())
		e.Kind = kindOf(x.status, asked)
		e.Detail = c.credentials.clean(detail(x), maxDetail)
		if e.Kind == Auth && c.signed {
			e.Detail = strings.TrimPrefix(e.Detail+clockSkew(x.header, time.Now()), "; ")
		}
	}
	return e
}

// Refused returns the error for a request that the API accepted and then did not
// carry out; text is the API's reason.
func (c *Caller) Refused(op string, kind Kind, text string) *Error {
	return &Error{Provider: c.provider, Op: op, Kind: kind, Detail: c.credentials.clean(text, maxDetail)}
}

// minSkew is the least difference that is told: less can be the time that an answer
// took.
const minSkew = time.Minute

// clockSkew tells how much this host's clock differs from the server's, "" if less
// than minSkew or the answer does not tell.
func clockSkew(h http.Header, now time.Time) string {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return ""
	}
	switch skew := now.Sub(date).Round(time.Second); {
	case skew <= -minSkew:
		return fmt.Sprintf("; this host's clock is %s behind the provider's", -skew)
	case skew >= minSkew:
		return fmt.Sprintf("; this host's clock is %s ahead of the provider's", skew)
	}
	return ""
}

// kindOf tells what a status means that is not a success.
func kindOf(status int, retryAfter bool) Kind {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return Auth
	case http.StatusNotFound, http.StatusGone:
		return NotFound
	case http.StatusTooManyRequests:
		return RateLimited
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusLocked, http.StatusTooEarly:
		return Transient
	case http.StatusServiceUnavailable:
		if retryAfter {
			return RateLimited
		}
		return Transient
	}
	if status >= 400 && status <= 499 {
		return Invalid
	}
	// 5xx, and statuses that make no sense here: 1xx, a redirect, beyond 599.
	return Transient
}

// retryAfter reads the header Retry-After in both of its forms (RFC 9110, section
// 10.2.3) and tells whether there was one that could be read. A date is compared
// with the server's own clock where the answer tells that.
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	// A number that is out of range is an order to wait, too; ParseUint returns the
	// greatest with its error.
	if n, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		if n > uint64(maxWait/time.Second) {
			return maxWait, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxWait), true
}

func (c *Caller) requestID(h http.Header) string {
	for _, name := range []string{"X-Request-Id", "X-Correlation-Id"} {
		if id := h.Get(name); id != "" {
			return c.credentials.clean(id, maxRequestID)
		}
	}
	return ""
}

// contentType names the type of an answer that should be JSON and is not.
func (c *Caller) contentType(h http.Header) string {
	ct := h.Get("Content-Type")
	if ct == "" || strings.HasPrefix(ct, "application/json") {
		return ""
	}
	return c.credentials.clean("content type "+ct, maxDetail)
}

// detail takes the server's own words out of an answer, whatever its shape.
func detail(x *exchange) string {
	if x.status >= 300 && x.status <= 399 {
		host := "elsewhere"
		if u, err := url.Parse(x.header.Get("Location")); err == nil && u.Host != "" {
			host = u.Host
		}
		return "redirect to " + host + " is not followed"
	}
	var v any
	if json.Unmarshal(x.body, &v) == nil {
		var parts []string
		flatten("", v, &parts)
		return strings.Join(parts, "; ")
	}
	if text := string(x.body); !strings.Contains(text, "<") {
		return text
	}
	return stripTags(string(x.body))
}

// plainKeys are names under which an error text stands alone; any other name is
// that of the field to which the text belongs.
var plainKeys = []string{"detail", "message", "error", "title"}

// flatten collects the texts in a JSON value, each with the field it belongs to.
func flatten(field string, v any, parts *[]string) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			name := field
			if !slices.Contains(plainKeys, key) {
				name = strings.TrimPrefix(field+"."+key, ".")
			}
			flatten(name, v[key], parts)
		}
	case []any:
		for _, item := range v {
			flatten(field, item, parts)
		}
	case nil:
	default:
		text := fmt.Sprint(v)
		if field != "" {
			text = field + ": " + text
		}
		*parts = append(*parts, text)
	}
}

// stripTags returns the text of an HTML page without its markup.
func stripTags(page string) string {
	var b strings.Builder
	for page != "" {
		text, rest, found := strings.Cut(page, "<")
		b.WriteString(text)
		b.WriteByte(' ')
		if !found {
			break
		}
		if _, page, found = strings.Cut(rest, ">"); !found {
			break
		}
	}
	return b.String()
}

// quietError shows a text that was cleaned, and lets only errors.Is see its cause:
// printing any link of the chain must be safe.
type quietError struct {
	text string
	is   error
}

func (e *quietError) Error() string        { return e.text }
func (e *quietError) Is(target error) bool { return errors.Is(e.is, target) }

func (c *Caller) quiet(err error, prefix string) error {
	shown := err
	// net/http repeats method and URL, which the operation says better.
	if ue, ok := errors.AsType[*url.Error](err); ok {
		shown = ue.Err
	}
	return &quietError{text: prefix + c.credentials.clean(shown.Error(), maxDetail), is: err}
}

// EndedError returns the error for an operation that ended with the context of the
// caller; errors.Is finds the context's error and its cause in it.
func EndedError(ctx context.Context, provider, op string) *Error {
	return &Error{Provider: provider, Op: op, Kind: Transient, Cause: endedError(ctx)}
}

// SharedError makes an *Error of the bare cause with which the wait for a Shared
// call ends. Other errors, such as a permit's, stay as they are.
func SharedError(ctx context.Context, provider, op string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil || ctx.Err() == nil {
		return err
	}
	return EndedError(ctx, provider, op)
}

// endedError tells that a context of the caller ended, and why.
func endedError(ctx context.Context) error {
	cause := context.Cause(ctx)
	return &quietError{text: cause.Error(), is: errors.Join(ctx.Err(), cause)}
}
