package election

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// sample is what etcd last said of a lease of another member.
type sample struct {
	asked, answered time.Time
	left            time.Duration // whole seconds, the rest is cut off
	granted         time.Duration
}

// sampleInterval is how often etcd is asked for the leases of other members.
const sampleInterval = time.Second

// sampleLeases asks, while ctx lasts, how much time the other members' leases
// have left, so that a lease that ends early is told from one that expires, and calls
// sampled after each round.
func (o *observer) sampleLeases(ctx context.Context, own func() clientv3.LeaseID, sampled func()) error {
	defer o.dropDoubles()
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		var asking sync.WaitGroup
		needed, viewed := o.leases(own())
		for _, lease := range needed {
			asking.Go(func() {
				if s, alive := o.sample(ctx, lease, o.samples); alive {
					o.mu.Lock()
					defer o.mu.Unlock()
					o.lasts(s.granted)
				}
			})
		}
		for _, lease := range viewed {
			asking.Go(func() { o.sample(ctx, lease, o.viewed) })
		}
		asking.Wait()
		sampled()
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
				wait = false
			case <-o.unsampled:
				wait = !o.hasUnsampled(own())
			}
		}
	}
}

// sample asks for a lease and has the answer in one of the observer's maps.
func (o *observer) sample(ctx context.Context, lease clientv3.LeaseID, in map[clientv3.LeaseID]sample) (s sample, alive bool) {
	ctx, cancel := context.WithTimeout(ctx, sampleInterval)
	defer cancel()
	s, alive, err := timeToLive(ctx, o.etcd, lease)
	if err != nil || !alive {
		return s, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	in[lease] = s
	return s, true
}

// wakeSampler has sampleLeases find out whether there is a new lease. It never blocks.
func (o *observer) wakeSampler() {
	select {
	case o.unsampled <- struct{}{}:
	default:
	}
}

// leases returns the leases of other members that have an entry in a queue for which
// this process has a campaign, or an address of the pool, which this process may need
// next, and those that only a person views who has asked for the cluster. It forgets the
// samples of those that are long gone.
func (o *observer) leases(own clientv3.LeaseID) (needed, viewed []clientv3.LeaseID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, seen := map[clientv3.LeaseID]bool{}, map[clientv3.LeaseID]bool{}
	for r, q := range o.queues {
		for _, e := range q.entries {
			if (q.campaigns > 0 || r.pool) && e.lease != own && e.lease != 0 {
				found[e.lease] = true
			} else {
				seen[e.lease] = true
			}
		}
	}
	for _, n := range o.members.nodes {
		seen[n.lease] = true
	}
	for l := range found {
		needed = append(needed, l)
	}
	if time.Since(o.cluster.asked) < clusterAsked {
		for l := range seen {
			if !found[l] && l != own && l != 0 {
				viewed = append(viewed, l)
			}
		}
	}
	forgetSamples(o.samples, found)
	forgetSamples(o.viewed, seen)
	return needed, viewed
}

func forgetSamples(samples map[clientv3.LeaseID]sample, used map[clientv3.LeaseID]bool) {
	for l, s := range samples {
		if !used[l] && time.Since(s.answered) > 2*s.granted {
			delete(samples, l)
		}
	}
}

// hasUnsampled reports whether there is a lease without a sample.
func (o *observer) hasUnsampled(own clientv3.LeaseID) bool {
	needed, _ := o.leases(own)
	for _, l := range needed {
		o.mu.Lock()
		_, known := o.samples[l]
		o.mu.Unlock()
		if !known {
			return true
		}
	}
	return false
}

// timeToLive asks how much time a lease has left, and whether etcd has it at all.
func timeToLive(ctx context.Context, e *Etcd, lease clientv3.LeaseID) (s sample, alive bool, err error) {
	type timed struct {
		asked time.Time
		*clientv3.LeaseTimeToLiveResponse
	}
	r, err := call(ctx, e, func(ctx context.Context, c *clientv3.Client) (timed, error) {
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
