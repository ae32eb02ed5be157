package election

import (
	"context"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A lease that ends early, revoked by hand or lost by etcd, ends without its owner
// being told for certain. This file tells it from one that expired, by what was
// seen of it before, and has the next owner wait.

// doubt is a lease that should have expired with the key that vanished.
type doubt struct {
	lease  clientv3.LeaseID
	member string
	until  time.Time // when its member has ended, if it has not
}

// sample is what was last seen of a lease of another member.
type sample struct {
	asked, answered time.Time
	left            time.Duration // whole seconds, the rest is cut off
	granted         time.Duration
}

// sampleInterval is how often the leases of other members are looked at.
const sampleInterval = time.Second

// watchLeases looks, while ctx lasts, how much time the other members' leases
// have left, so that a lease that ends early is told from one that expires, and calls
// looked after each look.
func (b *Board) watchLeases(ctx context.Context, own func() clientv3.LeaseID, looked func()) error {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		var looks sync.WaitGroup
		for _, lease := range b.leases(own()) {
			looks.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, sampleInterval)
				defer cancel()
				s, alive, err := b.take(ctx, lease)
				if err != nil || !alive {
					return
				}
				b.mu.Lock()
				defer b.mu.Unlock()
				b.samples[lease] = s
				b.lasts(s.granted)
			})
		}
		looks.Wait()
		looked()
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
				wait = false
			case <-b.news:
				wait = !b.unsampled(own())
			}
		}
	}
}

// leases returns the leases of other members that have a place in a queue that is
// followed, and forgets the samples of those that are long gone.
func (b *Board) leases(own clientv3.LeaseID) []clientv3.LeaseID {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[clientv3.LeaseID]bool{}
	for _, c := range b.contests {
		for _, e := range c.queue {
			if c.follows > 0 && e.lease != own {
				found[e.lease] = true
			}
		}
	}
	var all []clientv3.LeaseID
	for l := range found {
		all = append(all, l)
	}
	for l, s := range b.samples {
		if !found[l] && time.Since(s.answered) > 2*s.granted {
			delete(b.samples, l)
		}
	}
	return all
}

// unsampled reports whether there is a lease of which nothing is known.
func (b *Board) unsampled(own clientv3.LeaseID) bool {
	for _, l := range b.leases(own) {
		b.mu.Lock()
		_, known := b.samples[l]
		b.mu.Unlock()
		if !known {
			return true
		}
	}
	return false
}

// take asks how much time a lease has left, and whether it is there at all.
func (b *Board) take(ctx context.Context, lease clientv3.LeaseID) (s sample, alive bool, err error) {
	type timed struct {
		asked time.Time
		*clientv3.LeaseTimeToLiveResponse
	}
	r, err := call(ctx, b.etcd, func(ctx context.Context, c *clientv3.Client) (timed, error) {
		asked := time.Now()
		r, err := c.TimeToLive(ctx, lease)
		return timed{asked, r}, err
	})
	if err != nil {
		return sample{}, false, err
	}
	s = sample{r.asked, time.Now(), time.Duration(r.TTL) * time.Second, time.Duration(r.GrantedTTL) * time.Second}
	return s, r.TTL >= 0, nil
}

// judge decides for how long a new owner must wait because the key of a former one
// vanished although its lease may have had time left and nobody gave the key up: a
// key can be deleted and a lease revoked by hand, and etcd 3.4 was seen to lose one
// 0.6 s after it had acknowledged a renewal. The former owner may not have heard of
// it and goes on until its own deadline. An owner of later that gave up its key had
// waited for this one; one that gave up unused had not. Of leases of this process
// itself the work here has ended before anybody asks. It is called with the lock
// held, after all that etcd did at once.
func (b *Board) judge(c *contest) {
	now := time.Now()
	for _, g := range c.gone {
		if c.released >= g.token || slices.Contains(c.withdrawn, g.token) || b.had(g.lease) {
			continue
		}
		s, known := b.samples[g.lease]
		if !known {
			s = sample{asked: now, answered: now, left: b.ttl, granted: b.ttl}
		}
		// The whole of it, not less the margin: should the former owner be frozen,
		// the kernel alone takes its addresses away.
		wait := s.granted
		if s.left <= now.Sub(s.asked) {
			// It can have expired. No more than this was left of it, with what the
			// sample cut off, and less the margin of the term; and whether it is gone
			// at all is to be asked.
			wait = s.left + time.Second - now.Sub(s.answered) - margin(s.granted)
			c.doubts = append(c.doubts, doubt{g.lease, g.Member, now.Add(s.granted)})
		}
		c.wait(now.Add(wait), g.Member)
	}
	c.gone, c.withdrawn = nil, nil
}

// wait makes new owners wait until then for a former one.
func (c *contest) wait(until time.Time, former string) {
	if until.After(c.until) {
		c.until, c.former = until, former
	}
}

// settle asks whether a lease that should have expired is gone. New owners wait
// for one that lives, or about which etcd does not answer.
func (b *Board) settle(ctx context.Context, instance string, d doubt) {
	ctx, cancel := context.WithTimeout(ctx, sampleInterval)
	defer cancel()
	_, alive, err := b.take(ctx, d.lease)
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.contest(instance)
	if alive || err != nil {
		c.wait(d.until, d.member)
	}
	c.doubts = slices.DeleteFunc(c.doubts, func(o doubt) bool { return o == d })
}
