package netif

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// lease has an end that a test moves.
type lease struct {
	mu  sync.Mutex
	end time.Time
}

func (l *lease) set(left time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = time.Now().Add(left)
}

func (l *lease) get() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// bubble is a fake kernel and an interface on it, run in a bubble of synctest.
type bubble struct {
	*world
	k     *fakeKernel
	i     *Interface
	lease lease
	began time.Time
}

// inBubble runs a test body with a lease of 5 s that is not renewed.
func inBubble(t *testing.T, change func(*Options), body func(*testing.T, *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{k: newFakeKernel(), began: time.Now()}
		b.world = fakeWorld(t, b.k)
		b.lease.set(5 * time.Second)
		o := options(t)
		o.End = b.lease.get
		if change != nil {
			change(&o)
		}
		b.i = running(t, b.world, o)
		body(t, b)
	})
}

// until lets the time of the bubble pass up to this long after it began.
func (b *bubble) until(d time.Duration) {
	time.Sleep(time.Until(b.began.Add(d)))
	synctest.Wait()
}

// renewing renews the lease once a second for as long.
func (b *bubble) renewing(seconds int) {
	for range seconds {
		time.Sleep(time.Second)
		b.lease.set(5 * time.Second)
		b.i.Renewed()
		synctest.Wait()
	}
}

// binds lists how often and for how many seconds, as "0s:3".
func (b *bubble) binds() (list []string) {
	for _, f := range b.k.bound() {
		list = append(list, f.at.Sub(b.began).String()+":"+string(rune('0'+f.seconds)))
	}
	return list
}

func wantEqual[T any](t *testing.T, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
}
