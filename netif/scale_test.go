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

// timed notes when addresses were bound and first announced.
type timed struct {
	kernel
	mu               sync.Mutex
	bound, announced map[netip.Addr]time.Time
}

func (k *timed) bind(l link, addrs []netip.Prefix, seconds int) []error {
	begun := time.Now()
	answers := k.kernel.bind(l, addrs, seconds)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range addrs {
		if _, renewed := k.bound[p.Addr()]; !renewed {
			k.bound[p.Addr()] = begun
		}
	}
	return answers
}

func (k *timed) send(frame []byte) error {
	err := k.kernel.send(frame)
	k.mu.Lock()
	defer k.mu.Unlock()
	a, _, claims := parseARP(frame)
	if _, again := k.announced[a]; claims && !again {
		k.announced[a] = time.Now()
	}
	return err
}

// BenchmarkAnnounce200 measures how long an address of a host that takes over 200 at once
// waits for its first announcement, from the request to bind it.
func BenchmarkAnnounce200(b *testing.B) {
	testnet.Require(b)
	bell := new(testnet.Bell)
	n, neighbour := newNode(b, "host", bell), newNode(b, "neighbour", bell)
	must(b, errors.Join(testnet.Cable(n, "eth0", neighbour, "eth0"), n.Up("eth0"), neighbour.Up("eth0")))
	until := time.Now().Add(time.Hour)
	o := Options{Name: "eth0", End: func() time.Time { return until }, Elsewhere: func(netip.Prefix) bool { return false }}
	k := &timed{}
	must(b, n.Do(func() (err error) {
		k.kernel, err = openKernel(o.Name)
		return err
	}))
	i, err := open(o, k, openRecord("", journal.New(nil)))
	must(b, err)
	list := thousand()
	must(b, i.Manage(list))
	running, stop := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = i.Run(running) })
	var waits []time.Duration
	for b.Loop() {
		k.mu.Lock()
		k.bound, k.announced = map[netip.Addr]time.Time{}, map[netip.Addr]time.Time{}
		k.mu.Unlock()
		ctx, cancel := context.WithCancelCause(context.Background())
		var bound, calls sync.WaitGroup
		for _, p := range list[:200] {
			bound.Add(1)
			calls.Go(func() { _ = i.Bind(ctx, []netip.Prefix{p}, bound.Done) })
		}
		bound.Wait()
		cancel(errDemoted)
		calls.Wait()
		k.mu.Lock()
		for a, at := range k.announced {
			waits = append(waits, at.Sub(k.bound[a]))
		}
		k.mu.Unlock()
	}
	stop()
	run.Wait()
	must(b, i.Close())
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "99%-ms")
	b.ReportMetric(float64(waits[len(waits)-1].Microseconds())/1000, "max-ms")
}
