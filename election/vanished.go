package election

import (
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The key of an owner can vanish although its owner did not give it up: its lease
// expired, was revoked by hand, or was lost by etcd, and the owner may not know. This
// file decides for how long the next owner waits.

// expiry is a lease that should have expired with the key that vanished, which etcd has
// not confirmed.
type expiry struct {
	lease  clientv3.LeaseID
	member string
	until  time.Time // when its member has ended, if the lease has not
}

// decideWaits decides for how long a new owner must wait because the key of a former
// owner vanished although its lease may have had time left and its owner did not give
// the key up: a key can be deleted and a lease revoked by hand, and etcd 3.4 was seen to
// lose a lease 0.6 s after it had acknowledged a renewal. The former owner may not have
// heard of it and goes on until its own deadline. A later owner that gave up its key had
// waited for this one; a member that withdrew had not. If the lease is this process's
// own, the holding here has ended before the queue is asked for. It is called with the
// lock held, after all that etcd did at once.
func (o *observer) decideWaits(q *queue) {
	now := time.Now()
	for _, v := range q.vanished {
		if q.released >= v.token || slices.Contains(q.withdrawn, v.token) || o.had(v.lease) {
			continue
		}
		s, known := o.samples[v.lease]
		if !known {
			s = sample{asked: now, answered: now, left: o.ttl, granted: o.ttl}
		}
		// The wait is the whole time to live, without subtracting the margin: only the
		// kernel removes the addresses of a frozen owner, at the end of the lease.
		wait := s.granted
		if s.left <= now.Sub(s.asked) {
			// The lease can have expired. At most s.left, and the fraction that etcd cuts
			// off, remained of it; the former owner's term ended a margin earlier. etcd is
			// also asked whether the lease is gone.
			wait = s.left + time.Second - now.Sub(s.answered) - leaseMargin(s.granted)
			q.unconfirmed = append(q.unconfirmed, expiry{v.lease, v.Member, now.Add(s.granted)})
		}
		q.wait(now.Add(wait), v.Member)
	}
	q.vanished, q.withdrawn = nil, nil
}

// wait has new owners wait until a moment because of a former owner.
func (q *queue) wait(until time.Time, former string) {
	if until.After(q.until) {
		q.until, q.former = until, former
	}
}

// confirm asks etcd whether a lease that should have expired is gone. New owners wait
// for a lease that lives, and for one about which etcd does not answer.
func (o *observer) confirm(ctx context.Context, instance string, e expiry) {
	ctx, cancel := context.WithTimeout(ctx, sampleInterval)
	defer cancel()
	_, alive, err := o.timeToLive(ctx, e.lease)
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queue(instance)
	if alive || err != nil {
		q.wait(e.until, e.member)
	}
	q.unconfirmed = slices.DeleteFunc(q.unconfirmed, func(other expiry) bool { return other == e })
}
