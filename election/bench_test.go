package election_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"berth/election"
	"berth/internal/etcdtest"
)

// crowd is a member that campaigns for many instances.
type crowd struct {
	held chan time.Time // when the member became the owner of an instance
	stop func(cause error)
}

func newCrowd(b *testing.B, c *etcdtest.Cluster, name string, instances int) *crowd {
	b.Helper()
	etcd, err := election.NewEtcd(election.Options{Endpoints: c.Endpoints()})
	if err != nil {
		b.Fatal(err)
	}
	m := &election.Member{Etcd: etcd, Prefix: prefix, Name: name, TTL: ttl}
	m.Init()
	ctx, cancel := context.WithCancelCause(b.Context())
	w := &crowd{held: make(chan time.Time, instances)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, func(ctx context.Context) error {
			var all sync.WaitGroup
			for i := range instances {
				all.Go(func() {
					_ = m.Campaign(ctx, election.Campaign{Instance: "i" + strconv.Itoa(i)}, func(ctx context.Context, _ election.Grant) error {
						w.held <- time.Now()
						<-ctx.Done()
						return nil
					})
				})
			}
			all.Wait()
			return context.Cause(ctx)
		})
	}()
	w.stop = func(cause error) {
		cancel(cause)
		<-done
		_ = etcd.Close()
	}
	return w
}

// all waits until every instance is held, and returns when the first and the
// last were.
func (w *crowd) all(b *testing.B, instances int) (first, last time.Time) {
	b.Helper()
	for i := range instances {
		select {
		case last = <-w.held:
			if i == 0 {
				first = last
			}
		case <-time.After(limit):
			b.Fatalf("want %d instances held, got %d", instances, i)
		}
	}
	return first, last
}

// load returns what a cluster has received and worked so far.
func load(b *testing.B, c *etcdtest.Cluster) (bytes, seconds float64) {
	b.Helper()
	for _, m := range c.Members() {
		for name, to := range map[string]*float64{"etcd_network_client_grpc_received_bytes_total": &bytes, "process_cpu_seconds_total": &seconds} {
			v, err := strconv.ParseFloat(m.Metric(b.Context(), name), 64)
			if err != nil {
				b.Fatal(fmt.Errorf("read %s: %w", name, err))
			}
			*to += v
		}
	}
	return bytes, seconds
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// A member with a thousand elections on one lease: what it keeps in memory, what
// a quiet second costs the three members of etcd, how long it takes to be elected
// for all, and how long another one takes, from the first to the last, when it dies.
func BenchmarkThousandElections(b *testing.B) {
	const instances = 1000
	for b.Loop() {
		c := etcdtest.Start(b, 3, etcdtest.Options{})
		before := heap()
		begun := time.Now()
		one := newCrowd(b, c, "one", instances)
		_, last := one.all(b, instances)
		b.ReportMetric(float64(last.Sub(begun).Milliseconds()), "elected-ms")
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB/member")
		two := newCrowd(b, c, "two", instances)

		<-time.After(2 * time.Second) // both have queued up
		const quiet = 5
		bytes, seconds := load(b, c)
		<-time.After(quiet * time.Second)
		bytes2, seconds2 := load(b, c)
		b.ReportMetric((bytes2-bytes)/quiet/2, "etcd-B/s/member")
		b.ReportMetric((seconds2-seconds)/quiet*1000, "etcd-cpu-ms/s")

		died := time.Now()
		one.stop(election.ErrLeave)
		first, last := two.all(b, instances)
		b.ReportMetric(float64(last.Sub(first).Milliseconds()), "takeover-ms")
		b.ReportMetric(last.Sub(died).Seconds(), "after-death-s")
		two.stop(election.ErrLeave)
	}
}
