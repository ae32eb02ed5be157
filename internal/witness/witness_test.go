package witness_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/condition"
	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/witness"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var errOver = errors.New("test is over")

// network is what a test lets a host reach.
type network struct{ state atomic.Int32 }

const (
	accepts = iota
	refuses
	silent
)

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" || address != "192.0.2.1:443" {
		return nil, fmt.Errorf("dialled %s %s", network, address)
	}
	switch n.state.Load() {
	case refuses:
		return nil, errors.New("connection refused")
	case silent:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	go func() { _, _ = there.Read(make([]byte, 1)) }() // ends when this host closes
	return here, nil
}

func TestTheWitnessIsLostAfterSomeTriesAndReachedAfterOne(t *testing.T) {
	for _, how := range []int32{refuses, silent} {
		synctest.Test(t, func(t *testing.T) {
			core, logs := observer.New(zapcore.InfoLevel)
			r := &metrics.Registry{}
			n := &network{}
			n.state.Store(how)
			w := witness.New(witness.Options{Address: "192.0.2.1:443", Interval: time.Second, Failures: 3, Dial: n.dial, Metrics: witness.NewMetrics(r), Journal: journal.New(zap.New(core))})
			ctx, end := context.WithCancelCause(t.Context())
			changed, stop := condition.Signal(w)
			defer stop()
			begun, done := time.Now(), make(chan error, 1)
			go func() { done <- w.Run(ctx) }()

			<-changed
			took, most := time.Since(begun), 3*time.Second // the end of the third try
			if holds, reason := w.State(); holds || reason != "the witness 192.0.2.1:443 is not reached" || took > most || took < 2*time.Second {
				t.Errorf("holds %t, %q after %v; want that it ends with the third try", holds, reason, took)
			}
			var text strings.Builder
			if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "berth_witness_up 0\n") {
				t.Errorf("metrics: %v\n%s", err, &text)
			}
			time.Sleep(time.Minute)
			n.state.Store(accepts)
			at := time.Now()
			<-changed
			if holds, _ := w.State(); !holds || time.Since(at) > 2*time.Second {
				t.Errorf("holds %t after %v; want that one success is enough", holds, time.Since(at))
			}
			if logs.Len() != 2 || logs.All()[0].ContextMap()["witness"] != "192.0.2.1:443" {
				t.Errorf("want the loss and its end told, got %v", logs.All())
			}
			// Two failures between successes change nothing.
			for range 4 {
				n.state.Store(how)
				time.Sleep(1500 * time.Millisecond)
				n.state.Store(accepts)
				time.Sleep(2500 * time.Millisecond)
			}
			select {
			case <-changed:
				t.Error("changed although the third try in a row succeeded")
			default:
			}
			end(errOver)
			if err := <-done; err != errOver {
				t.Errorf("got %v, want the cause", err)
			}
		})
	}
}

func TestBeforeTheFirstTriesHaveFailedTheConditionHolds(t *testing.T) {
	w := witness.New(witness.Options{Address: "192.0.2.1:443", Interval: time.Second, Failures: 2, Journal: journal.New(nil)})
	if holds, reason := w.State(); !holds {
		t.Errorf("does not hold: %s", reason)
	}
}
