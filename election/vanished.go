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

// unrecorded is a wait that begins unless a record says that the key was given up. The
// record and the deletion of the key are one transaction, but two watches tell of them.
type unrecorded struct {
	expiry
	token int64
	begin time.Time // no new owner before this moment
	doubt bool      // the expiry is to be confirmed
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
	q.expire(now)
	for _, v := range q.vanished {
		if o.had(v.lease) || !q.split() && (q.released >= v.token || slices.Contains(q.withdrawn, v.token)) {
			continue
		}
		s, known := o.samples[v.lease]
		if !known {
			s = sample{asked: now, answered: now, left: o.ttl, granted: o.ttl}
		}
		// A program other than berth deletes its key, or revokes its lease, when it has ended
		// what it did as owner, and writes no record of that.
		if v.foreign && s.left > now.Sub(s.asked) {
			continue
		}
		// The wait is the whole time to live, without subtracting the margin: only the
		// kernel removes the addresses of a frozen owner, at the end of the lease.
		wait, doubt := s.granted, false
		if s.left <= now.Sub(s.asked) {
			// The lease can have expired. At most s.left, and the fraction that etcd cuts
			// off, remained of it; the former owner's term ended a margin earlier. etcd is
			// also asked whether the lease is gone.
			wait = s.left + time.Second - now.Sub(s.answered) - leaseMargin(s.granted)
			doubt = true
		}
		u := unrecorded{expiry{v.lease, v.Member, now.Add(s.granted)}, v.token, now.Add(wait), doubt}
		if q.split() {
			q.unrecorded = append(q.unrecorded, u)
		} else {
			q.mustWait(u)
		}
	}
	q.vanished, q.withdrawn = nil, nil
}

// expire forgets leases that must have ended: their members have, whatever etcd would say.
func (q *queue) expire(now time.Time) {
	q.unconfirmed = slices.DeleteFunc(q.unconfirmed, func(e expiry) bool { return !e.until.After(now) })
	q.unrecorded = slices.DeleteFunc(q.unrecorded, func(u unrecorded) bool { return !u.until.After(now) })
}

// mustWait has new owners wait, because there is no record that a key was given up.
func (q *queue) mustWait(u unrecorded) {
	if u.doubt {
		q.unconfirmed = append(q.unconfirmed, u.expiry)
	}
	q.wait(u.begin, u.member)
}

// wait has new owners wait until a moment because of a former owner.
func (q *queue) wait(until time.Time, former string) {
	if until.After(q.until) {
		q.until, q.former = until, former
	}
}

// confirm asks etcd whether a lease that should have expired is gone, for all that waits
// for the answer: a lease can have hundreds of keys. New owners wait for a lease that
// lives, and for one about which etcd does not answer. It returns after the answer, or
// when ctx ends.
func (o *observer) confirm(ctx context.Context, lease clientv3.LeaseID) {
	o.mu.Lock()
	answered, asked := o.confirming[lease]
	if !asked {
		answered = make(chan struct{})
		o.confirming[lease] = answered
	}
	o.mu.Unlock()
	if asked {
		select {
		case <-ctx.Done():
		case <-answered:
		}
		return
	}
	asking, cancel := context.WithTimeout(ctx, sampleInterval)
	defer cancel()
	_, alive, err := timeToLive(asking, o.etcd, lease)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.confirming, lease)
	close(answered)
	if ctx.Err() != nil {
		return // another that waits asks again
	}
	for _, q := range o.queues {
		q.unconfirmed = slices.DeleteFunc(q.unconfirmed, func(e expiry) bool {
			if e.lease == lease && (alive || err != nil) {
				q.wait(e.until, e.member)
			}
			return e.lease == lease
		})
	}
}

// readRecords asks etcd whether keys that vanished were given up, and has new owners wait
// for those that were not, or about which etcd does not answer.
func (o *observer) readRecords(ctx context.Context, r ref, keys []unrecorded) {
	ctx, cancel := context.WithTimeout(ctx, sampleInterval)
	defer cancel()
	gone, err := call(ctx, o.etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.TxnResponse, error) {
		return c.Txn(ctx).Then(clientv3.OpGet(o.keys.record(releasedDir, r)), clientv3.OpGet(o.keys.record(withdrawnDir, r))).Commit()
	})
	var given [2]released
	if err == nil {
		for i := range given {
			for _, kv := range gone.Responses[i].GetResponseRange().Kvs {
				o.decode(kv, &given[i])
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queue(r)
	for _, u := range keys {
		i := slices.Index(q.unrecorded, u)
		if i < 0 { // its history is over
			continue
		}
		q.unrecorded = slices.Delete(q.unrecorded, i, i+1)
		if given[0].Token < u.token && given[1].Token != u.token {
			q.mustWait(u)
		}
	}
}
