package providers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"berth/internal/journal"
)

// maxPause bounds for how long no request goes out because an answer asked for
// that; what a broken proxy says must not decide an outage.
const maxPause = 10 * time.Minute

// CallerOptions say for which provider a Caller calls, and how.
type CallerOptions struct {
	Provider  string            // name in errors and logs
	Transport http.RoundTripper // nil means NewTransport(nil, true, nil)
	// Credentials are what no error may ever show, and what is read again when
	// the API refuses it; nil if there are none.
	Credentials *Credentials
	// Signed tells that requests bear a signature that expires: a clock that
	// differs is then named when one is refused.
	Signed  bool
	Timeout time.Duration    // of a whole call; 0 means 10 s
	Journal *journal.Journal // that of the provider; nil means none
	Metrics *Metrics         // nil means none
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
	journal     *journal.Journal
	unreadable  *journal.Condition // the credentials
	metrics     *Metrics

	mu     sync.Mutex // guards paused
	paused time.Time  // no request goes out before
}

// NewCaller returns a Caller.
func NewCaller(o CallerOptions) *Caller {
	c := &Caller{provider: o.Provider, credentials: o.Credentials, signed: o.Signed, timeout: o.Timeout, journal: o.Journal, metrics: o.Metrics}
	c.metrics.known(c.provider)
	if c.credentials == nil {
		c.credentials = &Credentials{}
	}
	if c.timeout == 0 {
		c.timeout = requestTimeout
	}
	if c.journal == nil {
		c.journal = journal.New(nil)
	}
	c.unreadable = c.journal.Condition()
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
// timeout of the Caller. If f fails, or the status of the answer is not a success,
// the result is an *Error for the operation op. That the context of the caller ended
// stays visible to errors.Is, as context.Canceled or DeadlineExceeded and as the
// cause; the kind is then Transient.
//
// When the API refuses the credentials they are read again; f runs a second time
// if they have changed meanwhile, as those in a file do.
//
// After an answer with Retry-After no call of this Caller, for any operation, goes
// out before the time has come (10 minutes at most): it fails as RateLimited with
// the time that is left to wait.
func (c *Caller) Call(ctx context.Context, op string, f func(context.Context) error) error {
	generation := c.credentials.Generation()
	err := c.try(ctx, op, f)
	if err == nil {
		// The file need not have been mended: what was read before counts again. Another
		// failure says nothing about the credentials.
		c.unreadable.Clear()
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Auth || ctx.Err() != nil {
		return err
	}
	changed, loadErr := c.credentials.renew(generation)
	if loadErr != nil {
		c.unreadable.Fail(credentialsUnreadable, loadErr)
	} else {
		c.unreadable.Clear()
	}
	if !changed {
		return err
	}
	c.journal.Tell(credentialsChanged)
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
			Detail: "not asked: the API asked berth to wait before the next request"}
	}
	x := &exchange{}
	start := time.Now()
	callCtx, clock := startClock(context.WithValue(ctx, exchangeKey{}, x), c.timeout)
	err := f(callCtx)
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(callCtx), errTimeout) {
		err = errTimeout // some layers below tell the context's error and not its cause
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
	c.journal.Debug("provider call", zap.String("op", op), zap.Int("status", x.status), zap.Duration("took", took), zap.Error(result))
	return result
}

// errTimeout is the error of a call that was ended by its own timeout.
var errTimeout error = timeoutError{}

// timeoutError is context.DeadlineExceeded in words that help an operator.
type timeoutError struct{}

func (timeoutError) Error() string   { return "no answer in time" }
func (timeoutError) Is(e error) bool { return e == context.DeadlineExceeded }

// Get is for calls without an SDK: it requests url, requires status 200 and hands
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
