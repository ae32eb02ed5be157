package providers

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kind is the closed set of reasons for which a call to a provider fails. A Kind
// says what happened; what follows from that is the refresher's decision.
type Kind string

const (
	// Transient: the network, a timeout, 5xx, or an answer that made no sense.
	Transient Kind = "transient"
	// RateLimited: 429, or 503 with Retry-After.
	RateLimited Kind = "rate-limited"
	// Auth: 401 or 403, or a credential that is missing.
	Auth Kind = "auth"
	// NotFound: the address is not a floating IP of this account.
	NotFound Kind = "not-found"
	// Invalid: the request can never succeed as it is (400, 405, 422).
	Invalid Kind = "invalid"
)

// Error is a failed call to a provider. Its text names provider and operation
// and never carries a token, a key or a header.
type Error struct {
	Provider  string // "cloudscale"
	Op        string // "point floating IP", "list floating IPs", "read metadata"
	Kind      Kind
	Status    int           // HTTP status, 0 when there was no answer
	RequestID string        // as the API calls it, if it sent one
	Wait      time.Duration // Retry-After of the answer, 0 if there was none
	Detail    string        // what the server said, one line, redacted and cut
	Taker     string        // the owner of an address right after a claim of it was accepted, "" if none was seen
	Cause     error         // may be nil
}

// Error returns "provider: operation: cause".
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Provider, e.Op)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP status %d", e.Status)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request id %s)", e.RequestID)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Unknown tells whether the API refused an object that the request names, as it
// does when the id that was known is not valid any more.
func (e *Error) Unknown() bool {
	return e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound || e.Status == http.StatusGone
}

// RefreshClass is the behaviour by which refresher recognises the kind without
// importing this package.
func (e *Error) RefreshClass() string { return string(e.Kind) }

// RetryAfter is how long the provider asked berth to wait, 0 if it did not ask.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

// TakenBy names the owner of an address right after a claim of it was accepted, ""
// if none was seen.
func (e *Error) TakenBy() string { return e.Taker }
