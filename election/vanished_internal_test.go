package election

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"berth/internal/etcdtest"
	"berth/vrrp"
)

// How long a new owner waits after the key of the former one vanished, from what
// was last seen of its lease, and whether it asks for the lease first.
func TestHowLongANewOwnerWaitsAfterAKeyVanished(t *testing.T) {
	// The margin of a term of granted is half a second.
	const ttl, granted = 7 * time.Second, 5 * time.Second
	type seen struct{ left, asked, answered time.Duration } // before the key vanished
	for _, row := range []struct {
		name  string
		seen  *seen
		wait  time.Duration
		doubt bool
		given string // the record that came with it
	}{
		{"nothing seen of the lease", nil, ttl, false, ""},
		{"expired", &seen{time.Second, 1500 * time.Millisecond, 1500 * time.Millisecond}, 0, true, ""},
		{"expired, not sampled for long", &seen{4 * time.Second, 4600 * time.Millisecond, 4600 * time.Millisecond}, 0, true, ""},
		{"can have expired, or been ended with up to a second left", &seen{4 * time.Second, 4100 * time.Millisecond, 4100 * time.Millisecond}, 400 * time.Millisecond, true, ""},
		{"ended right after a renewal", &seen{4 * time.Second, 500 * time.Millisecond, 500 * time.Millisecond}, granted, false, ""},
		{"ended with little left", &seen{2 * time.Second, 1900 * time.Millisecond, 1900 * time.Millisecond}, granted, false, ""},
		{"sampled in the moment of its end", &seen{0, 0, 0}, 500 * time.Millisecond, true, ""},
		{"the answer took long", &seen{2 * time.Second, 3 * time.Second, 0}, 2500 * time.Millisecond, true, ""},
		{"given up by its owner", &seen{4 * time.Second, 0, 0}, 0, false, releasedDir},
		{"given up unused", &seen{4 * time.Second, 0, 0}, 0, false, withdrawnDir},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const lease clientv3.LeaseID = 1
				m := &Member{Etcd: &Etcd{history: newHistory()}, TTL: ttl}
				m.Init()
				if s := row.seen; s != nil {
					m.observer.samples[lease] = sample{time.Now().Add(-s.asked), time.Now().Add(-s.answered), s.left, granted}
				}
				c := m.observer.queue(ref{name: "api"})
				c.vanished = []entry{{lease: lease, token: 3}}
				if row.given != "" {
					m.observer.put(m.observer.spans[0], &mvccpb.KeyValue{Key: []byte(row.given + "api"), Value: []byte(`{"token":3}`)})
				}
				m.observer.decideWaits(c)
				if got := max(0, time.Until(c.until)); got != row.wait {
					t.Errorf("want to wait for %v, got %v", row.wait, got)
				}
				if got := len(c.unconfirmed) > 0; got != row.doubt {
					t.Errorf("want a doubt: %t, got %t", row.doubt, got)
				}
			})
		})
	}
}

// A watch that is begun anew does not tell what happened before it.
func TestAKeyThatVanishedBetweenTwoWatchesIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lease, granted = 1, 5 * time.Second
		m := &Member{Etcd: &Etcd{history: newHistory()}, Prefix: "/berth/", TTL: granted}
		m.Init()
		key := &mvccpb.KeyValue{Key: []byte("/berth/" + electionsDir + "api/1"), Value: []byte(`{"member":"former"}`), Lease: lease, CreateRevision: 3}
		m.observer.load(m.observer.spans[0], []*mvccpb.KeyValue{key}, 3, 0)
		m.observer.samples[lease] = sample{asked: time.Now(), answered: time.Now(), left: 4 * time.Second, granted: granted}
		m.observer.load(m.observer.spans[0], nil, 9, 0)
		v, _ := m.observer.view(ref{name: "api"})
		if got := time.Until(v.until); got != granted || v.former != "former" {
			t.Errorf("want to wait %v for former, got %v for %q", granted, got, v.former)
		}
	})
}

// A key can be deleted by hand when its lease seems to be at its end, and is renewed.
func TestANewOwnerWaitsForALeaseThatLivesThoughItCouldHaveExpired(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1, etcdtest.Options{})
	etcd, err := NewEtcd(Options{Endpoints: cluster.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	c, err := etcd.client(0)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := c.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	key := "/berth/" + electionsDir + "api/former"
	if _, err := c.Put(t.Context(), key, `{"member":"former"}`, clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	m := &Member{Etcd: etcd, Prefix: "/berth/", Name: "next", TTL: 4 * time.Second}
	m.Init()
	waits, holds := make(chan struct{}, 10), make(chan time.Time, 1)
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the test takes too long"))
	ended := make(chan error, 1)
	// All parts of a member run but the sampler, whose next sample would replace the one
	// below.
	var parts sync.WaitGroup
	parts.Go(func() { _ = m.session.Run(ctx) })
	parts.Go(func() { _ = m.observer.run(ctx) })
	parts.Go(func() { m.writer.run(ctx) })
	parts.Go(func() {
		changed := func(s Status) {
			if s.State == vrrp.Backup {
				waits <- struct{}{}
			}
		}
		ended <- m.Campaign(ctx, Campaign{Instance: "api", Changed: changed}, func(ctx context.Context, _ Grant) error {
			holds <- time.Now()
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	defer func() { cancel(); parts.Wait() }()
	select {
	case <-waits:
	case err := <-ended:
		t.Fatal(err)
	}
	const granted = 3 * time.Second
	m.observer.mu.Lock()
	m.observer.samples[lease.ID] = sample{asked: time.Now().Add(-time.Second), answered: time.Now().Add(-time.Second), granted: granted}
	m.observer.mu.Unlock()
	deleted := time.Now()
	if _, err := c.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	select {
	case at := <-holds:
		if took := at.Sub(deleted); took < granted-100*time.Millisecond {
			t.Errorf("want the next owner to wait for %v, it took %v", granted, took)
		}
	case err := <-ended:
		t.Fatal(err)
	}
}
