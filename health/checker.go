package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"

	"go.uber.org/zap"
)

// Options are a check and when it counts.
type Options struct {
	Name     string // for people, and the label of the metrics
	Check    Check
	Interval time.Duration // between the beginnings of two runs
	Timeout  time.Duration // of one run
	Rise     int           // how many good runs in a row make it well
	Fall     int           // how many bad runs in a row make it unwell
	// Changed, which may be nil, is told of each change of the state or the reason. It
	// must not block.
	Changed func(State)
	Metrics *Metrics
	Journal *journal.Journal // nil tells nothing
}

// State is what is known of a check.
type State struct {
	Healthy bool
	Reason  string    // why not; "" for a healthy one
	Since   time.Time // when Healthy became what it is, or when the checker began
}

// Checker runs a check again and again. As a condition, it holds from rise good runs in a
// row to fall bad ones in a row, and not before the first rise.
type Checker struct {
	Options
	value   condition.Value
	failing *journal.Condition
	running chan struct{} // of the newest run; closed when it has ended; nil before the first

	mu    sync.Mutex
	known bool // a rise or a fall was seen, or is presumed
	state State
	good  int // runs in a row
	bad   int
	last  string // what was wrong in the newest bad run
}

var _ condition.Condition = (*Checker)(nil)

// New returns a checker that has not checked yet. It starts nothing.
func New(o Options) *Checker {
	if o.Journal == nil {
		o.Journal = journal.New(nil)
	}
	c := &Checker{Options: o, failing: o.Journal.Condition()}
	c.state.Reason = "not checked yet"
	c.value.Set(false, c.Name+": "+c.state.Reason)
	return c
}

// State is that of condition.Condition. The reason begins with the name of the check.
func (c *Checker) State() (holds bool, reason string) { return c.value.State() }

// Watch is that of condition.Condition.
func (c *Checker) Watch(changed func()) (stop func()) { return c.value.Watch(changed) }

// Known returns the state, and whether it is decided: by a rise or a fall, or by Presume.
// Before that the check is not healthy, and nothing is known against it.
func (c *Checker) Known() (s State, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.known
}

// Run runs the check until ctx ends and returns the cause. The first run is at once.
func (c *Checker) Run(ctx context.Context) error {
	c.Metrics.begin(c.Name)
	c.mu.Lock()
	if c.state.Since.IsZero() {
		c.state.Since = time.Now()
	}
	c.mu.Unlock()
	c.tell()
	defer c.failing.Drop()
	defer c.Metrics.end(c.Name)
	defer c.leave()
	for {
		begin := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.Metrics.ran(c.Name, err == nil, time.Since(begin))
		c.take(err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(c.pause() - time.Since(begin)):
		}
	}
}

// pause is the interval, less up to a tenth of it, so that the checks of many hosts do not
// stay in step. It is never more, so that a failure is noticed within fall intervals and
// one timeout.
func (c *Checker) pause() time.Duration {
	return c.Interval - time.Duration(rand.Int64N(int64(c.Interval/10)+1))
}

// grace is how long a check may take to return after its time is over, or after the end
// of the checker.
const grace = 50 * time.Millisecond

// errUnended is the reason of a run that did not begin.
var errUnended = errors.New("the run before has not ended although its time is over")

// Once runs the check once.
func (c *Checker) Once(ctx context.Context) error {
	defer c.leave()
	return c.once(ctx)
}

// once runs the check, unless the run before has not ended: a check that ignores its
// context must not pile up.
func (c *Checker) once(ctx context.Context) error {
	if c.running != nil {
		select {
		case <-c.running:
		default:
			return errUnended
		}
	}
	late := fmt.Errorf("timed out after %v", c.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, late)
	defer cancel()
	var err error
	ended := make(chan struct{})
	c.running = ended
	go func() { // leave waits for it
		defer close(ended)
		err = c.Check(ctx)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		select {
		case <-ended:
		case <-time.After(grace):
		}
		return context.Cause(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// leave waits for the end of the newest run, whose time is over, for a moment: neither a
// program in an uninterruptible sleep nor a read from a file server that does not answer
// may keep berth from ending, because its successor has to go on within a lease.
func (c *Checker) leave() {
	select {
	case <-c.running:
	case <-time.After(grace):
	}
}

// take counts the result of a run.
func (c *Checker) take(err error) {
	c.mu.Lock()
	was := c.state
	if err == nil {
		c.good, c.bad = c.good+1, 0
	} else {
		c.good, c.bad, c.last = 0, c.bad+1, err.Error()
	}
	rises := err == nil && c.good >= c.Rise
	falls := err != nil && c.bad >= c.Fall
	switch {
	case rises && !c.state.Healthy:
		c.known, c.state = true, State{Healthy: true, Since: time.Now()}
	case falls && (c.state.Healthy || !c.known):
		c.known, c.state = true, State{Since: time.Now()}
	}
	if !c.state.Healthy {
		c.state.Reason = c.last
		if err == nil {
			c.state.Reason = fmt.Sprintf("%d of %d good runs in a row", c.good, c.Rise)
		}
	}
	is := c.state
	c.Metrics.up(c.Name, is.Healthy)
	c.mu.Unlock()
	if is != was {
		c.tell()
	}
	switch {
	case is.Healthy:
		c.failing.Clear(zap.String("check", c.Name))
		if err != nil {
			c.Journal.Debug("a run of a health check failed", zap.String("check", c.Name), zap.Error(err))
		}
	case falls:
		c.failing.Fail(unhealthy, err, zap.String("check", c.Name), zap.Int("failures", c.bad))
	}
}

// Presume makes a check of which nothing is known yet a healthy one: another process, of
// which this one is the successor, found it so a moment ago. fall bad runs in a row make
// it unwell, as ever.
func (c *Checker) Presume() {
	c.mu.Lock()
	presumed := !c.known
	if presumed {
		c.known, c.state = true, State{Healthy: true, Since: time.Now()}
	}
	c.mu.Unlock()
	if presumed {
		c.tell()
	}
}

// tell tells the state to all that want to know.
func (c *Checker) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value.Set(c.state.Healthy, c.Name+": "+c.state.Reason)
	c.Metrics.up(c.Name, c.state.Healthy)
	if c.Changed != nil {
		c.Changed(c.state)
	}
}
