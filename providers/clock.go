package providers

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// clock ends a call after its timeout. The clock stands still while the call can do
// nothing but wait for a name to be looked up, which has a time limit of its own:
// a name server that does not answer costs five seconds before the next is asked,
// and says nothing about the API.
type clock struct {
	cancel context.CancelCauseFunc

	mu      sync.Mutex // guards all below
	timer   *time.Timer
	left    time.Duration
	since   time.Time // when timer was started
	looking int       // look-ups that the call waits for
	host    string    // of the last of them
	over    bool
}

// startClock returns a context that ends, with errTimeout as its cause, when the
// call has taken timeout, and the clock, whose end must be called.
func startClock(ctx context.Context, timeout time.Duration) (context.Context, *clock) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &clock{cancel: cancel, left: timeout, since: time.Now()}
	c.timer = time.AfterFunc(timeout, func() { cancel(errTimeout) })
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(i httptrace.DNSStartInfo) { c.lookUp(i.Host) },
		DNSDone:  func(httptrace.DNSDoneInfo) { c.lookedUp() },
	}), c
}

// end ends clock and context, and returns the name whose look-up the call waits
// for, "" if it waits for none. A connection attempt may outlive the call that asked
// for it, and calls lookUp and lookedUp then, too.
func (c *clock) end() (lookingUp string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.timer.Stop()
	c.cancel(nil)
	if c.looking > 0 {
		return c.host
	}
	return ""
}

func (c *clock) lookUp(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.host = host; c.looking == 0 && !c.over {
		c.timer.Stop()
		c.left -= time.Since(c.since)
	}
	c.looking++
}

func (c *clock) lookedUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looking--; c.looking == 0 && !c.over {
		c.since = time.Now()
		c.timer.Reset(c.left)
	}
}
