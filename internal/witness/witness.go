// Package witness tells whether this host reaches an address by TCP, as a condition of
// owning something. A host whose cable is cut reaches neither its peers nor the witness,
// and so does not take over what a living peer owns.
//
// A witness is not a fence: it answers every host that reaches it. Two hosts that are
// filtered from each other both reach it, and both become owners. And a connection that
// is accepted proves no more than that: not that other hosts reach this one.
//
// A try that fails says little (a datagram was lost, the witness starts anew), so the
// condition ends only after some tries in a row, and holds again after one that succeeds.
package witness

import (
	"context"
	"fmt"
	"net"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"

	"go.uber.org/zap"
)

// Options say what is reached and how often that is tried.
type Options struct {
	Address  string        // host and port
	Interval time.Duration // between two tries; each must succeed within this time
	Failures int           // tries in a row that must fail before the condition ends
	// Dial connects, as DialContext of a net.Dialer.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Metrics *Metrics         // nil shows nothing
	Journal *journal.Journal // must not be nil
}

// Witness is the condition that an address is reached. It holds until Failures tries in a
// row have failed: a process that begins anew must not resign before it could try.
type Witness struct {
	condition.Value
	o       Options
	failing *journal.Condition
}

// New returns a witness. It makes no connection.
func New(o Options) *Witness {
	w := &Witness{o: o, failing: o.Journal.With(zap.String("witness", o.Address)).Condition()}
	w.Set(true, "")
	return w
}

// Run tries to reach the address until ctx ends, and returns the cause. The first try is
// at once.
func (w *Witness) Run(ctx context.Context) error {
	defer w.failing.Drop()
	tick := time.NewTicker(w.o.Interval)
	defer tick.Stop()
	for failed := 0; ; {
		err := w.try(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			failed = 0
			w.reached()
		default:
			if failed++; failed == w.o.Failures {
				w.lost(err)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// try reports whether a connection is accepted within the interval.
func (w *Witness) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.o.Interval, fmt.Errorf("no answer within the interval of %v", w.o.Interval))
	defer cancel()
	conn, err := w.o.Dial(ctx, "tcp", w.o.Address)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	_ = conn.Close() // that it was accepted is all there is to know
	return nil
}

func (w *Witness) reached() {
	w.o.Metrics.up(true)
	w.Set(true, "")
	w.failing.Clear()
}

func (w *Witness) lost(err error) {
	w.o.Metrics.up(false)
	w.Set(false, fmt.Sprintf("the witness %s is not reached", w.o.Address))
	w.failing.Fail(unreachable, err, zap.Int("tries", w.o.Failures))
}
