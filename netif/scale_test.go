package netif

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/testnet"
)

// BenchmarkManageOneOfThousand measures what the change of one address costs a host with
// a list of 1,000, of which it has 200 bound: the call, and the observation that follows.
func BenchmarkManageOneOfThousand(b *testing.B) {
	testnet.Require(b)
	i, list, end := hostOf(b, 1000, 200)
	defer end()
	n := 0
	var call time.Duration
	for b.Loop() {
		begun := time.Now()
		must(b, i.Manage(slices.Delete(slices.Clone(list), 500+n%400, 501+n%400)))
		call += time.Since(begun)
		i.mu.Lock()
		i.reconcileAt = time.Time{}
		i.mu.Unlock()
		i.reconcile()
		n++
	}
	b.ReportMetric(float64(call.Microseconds())/float64(b.N), "call-µs")
}

// hostOf returns an interface that manages addresses and has some of them bound, each by
// a call of its own, as a pool does.
func hostOf(b *testing.B, managed, bound int) (i *Interface, list []netip.Prefix, end func()) {
	n := newNode(b, "host", new(testnet.Bell))
	until := time.Now().Add(time.Hour)
	o := Options{Name: "lo", End: func() time.Time { return until }, Elsewhere: func(netip.Prefix) bool { return false },
		Record: filepath.Join(b.TempDir(), "bound"), Metrics: NewMetrics(new(metrics.Registry))}
	must(b, n.Do(func() error {
		if err := n.Up("lo"); err != nil {
			return err
		}
		k, err := openKernel(o.Name)
		if err == nil {
			i, err = open(o, k, openRecord(o.Record, journal.New(nil)))
		}
		return err
	}))
	for k := range managed {
		list = append(list, netip.MustParsePrefix(fmt.Sprintf("10.1.%d.%d/32", k/250, k%250+1)))
	}
	must(b, i.Manage(list))
	running, stop := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancelCause(context.Background())
	var wg, all sync.WaitGroup
	wg.Go(func() { _ = i.Run(running) })
	var calls sync.WaitGroup
	for _, p := range list[:bound] {
		all.Add(1)
		calls.Go(func() {
			if err := i.Bind(ctx, []netip.Prefix{p}, all.Done); !errors.Is(err, errDemoted) {
				b.Errorf("want %v, got %v", errDemoted, err)
			}
		})
	}
	all.Wait()
	return i, list, func() {
		cancel(errDemoted)
		calls.Wait()
		stop()
		wg.Wait()
		must(b, i.Close())
	}
}
