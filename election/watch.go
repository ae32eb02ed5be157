package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// listTime bounds the reading of everything.
	listTime = 2 * time.Second
	// progressInterval is how often the watch is asked for its progress, progressTime
	// how long it may take to tell: a member of etcd that hangs says nothing.
	progressInterval = 500 * time.Millisecond
	progressTime     = 2 * time.Second
	// reconnect is the pause before the next endpoint is tried.
	reconnect = 100 * time.Millisecond
)

var errNoProgress = errors.New("the watch tells no progress")

// run keeps the copy current until ctx ends.
func (o *observer) run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for _, s := range o.spans {
		running.Go(func() { o.runSpan(ctx, s) })
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// runSpan keeps the copy of one span current until ctx ends.
func (o *observer) runSpan(ctx context.Context, s *span) {
	defer s.watching.Drop()
	for n := 0; ; n++ {
		current, err := o.follow(ctx, s, o.etcd.pick(n))
		o.interrupted(s)
		if ctx.Err() != nil {
			return
		}
		if refused(err) {
			o.deny(s)
		}
		// A watch that has ended is begun anew; a break of the history is said where it
		// is found.
		if !current && !errors.Is(err, ErrHistory) {
			s.watching.Fail(etcdUnwatched, err)
		} else {
			o.journal.Debug("the watch of the election has ended", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

// interrupted notes that the watch of a span has ended.
func (o *observer) interrupted(s *span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !s.current {
		return
	}
	s.current = false
	for _, q := range o.queues { // the owner is not known any more
		if q.place == s {
			q.ring()
		}
	}
}

// follow reads everything from an endpoint and then every change, until that
// fails. It reports whether everything was read.
func (o *observer) follow(ctx context.Context, s *span, endpoint int) (read bool, err error) {
	c, err := o.etcd.client(endpoint)
	if err != nil {
		return false, err
	}
	// A member of etcd that has lost the others ends the watch.
	ctx, cancel := context.WithCancel(once(clientv3.WithRequireLeader(ctx)))
	defer cancel()
	era, over, _ := o.etcd.history.current()
	listCtx, cancelList := context.WithTimeout(ctx, listTime)
	defer cancelList()
	all, err := c.Get(listCtx, s.prefix, clientv3.WithPrefix())
	if err != nil {
		return false, o.etcd.at(endpoint, fmt.Errorf("list %s: %w", s.prefix, err))
	}
	// The library does not close the channel when ctx ends before it has begun. The changes
	// of the revision that was read come again, without effect: since 3.6 etcd tells no
	// progress to a watch that begins after its newest revision (progressIfSync).
	changes := c.Watch(ctx, s.prefix, clientv3.WithPrefix(), clientv3.WithRev(all.Header.Revision))
	// From here on the watch ends with the connection, and so with this history.
	if err := o.etcd.history.check(listCtx, c); err != nil {
		return false, o.etcd.at(endpoint, fmt.Errorf("compare the history below %s: %w", s.prefix, err))
	}
	cancelList()
	o.load(s, all.Kvs, all.Header.Revision, era)
	s.watching.Clear()
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case <-over:
			return true, ErrHistory
		case <-tick.C:
			if time.Since(heard) > progressTime {
				return true, errNoProgress
			}
			asking, cancel := context.WithTimeout(ctx, progressInterval)
			err := c.RequestProgress(asking)
			cancel()
			if err != nil && ctx.Err() == nil {
				o.journal.Debug("cannot ask the watch for its progress", zap.Error(err))
			}
		case r, open := <-changes:
			if !open {
				return true, errors.New("the watch was closed")
			}
			if err := r.Err(); err != nil {
				return true, err
			}
			heard = time.Now()
			o.apply(s, r.Events, r.Header.Revision)
		}
	}
}

// load replaces everything in a span. A key that vanished with the history in which it
// was has been given up by no member: no rule that compares tokens holds across a break,
// and all new owners wait as quarantined says.
func (o *observer) load(s *span, kvs []*mvccpb.KeyValue, revision int64, era int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	broken := era != s.era
	s.era = era
	owners := o.clear(s, broken)
	if o.quarantined().Before(time.Now()) {
		o.longest = o.ttl // the leases of before may be gone
	}
	for _, s := range o.samples {
		o.lasts(s.granted)
	}
	for _, q := range o.queues { // those of other spans
		for _, e := range q.entries {
			o.lasts(time.Duration(e.TTL) * time.Second)
		}
	}
	for _, kv := range kvs {
		o.put(s, kv)
	}
	for r, q := range o.queues {
		if owner, owned := owners[r]; owned {
			o.vanish(q, owner)
		}
		o.decideWaits(q)
		o.tellForeign(r, q)
	}
	if !s.read {
		s.began = revision
	}
	s.revision, s.current, s.read, s.denied = revision, true, true, false
	o.completed()
	o.moved()
	for _, q := range o.queues {
		q.ring()
	}
	o.ring(s)
	o.wakeSampler()
}

// ring tells those that have a copy of the keys of a span that keys have changed. It is
// called with the lock held.
func (o *observer) ring(s *span) {
	o.pool.ring(s)
	o.members.ring()
	o.added.ring()
	o.cluster.ring()
}

// deny notes that etcd has refused to tell a span. Only what lies in that waits for it.
func (o *observer) deny(s *span) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.denied = true
	o.completed()
}

// completed tells when all that etcd does not refuse was read for the first time. It is
// called with the lock held.
func (o *observer) completed() {
	read := slices.ContainsFunc(o.spans, func(s *span) bool { return s.read })
	if !o.complete && read && !slices.ContainsFunc(o.spans, func(s *span) bool { return !s.read && !s.denied }) {
		o.complete = true
		close(o.read)
	}
}

// clear forgets what a span had, but not a wait that has begun, and returns the owners
// that there were in the history that goes on.
func (o *observer) clear(s *span, broken bool) map[ref]entry {
	owners := map[ref]entry{}
	for r, q := range o.queues {
		if q.place == s {
			if len(q.entries) > 0 && !broken {
				owners[r] = q.entries[0]
			}
			if broken {
				q.unrecorded = nil
			}
			q.entries = nil
		}
		if q.records == s {
			q.released, q.withdrawn, q.gaveUp, q.wanted = 0, nil, false, wanted{}
		}
		if _, owned := owners[r]; !owned && q.place == s && q.records == s && q.forgettable() {
			delete(o.queues, r)
		}
	}
	o.pool.clear(s)
	o.members.clear(s)
	o.added.clear(s)
	return owners
}

// apply takes changes of one or more revisions, whole.
func (o *observer) apply(s *span, events []*clientv3.Event, revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	touched := map[ref]bool{}
	for _, ev := range events {
		var r ref
		var ok bool
		if ev.Type == mvccpb.PUT {
			r, ok = o.put(s, ev.Kv)
		} else {
			r, ok = o.remove(string(ev.Kv.Key))
		}
		if ok {
			touched[r] = true
		}
	}
	// A progress notification has no events, and may be ahead of those on their way.
	if len(events) > 0 {
		s.revision = max(s.revision, revision)
		o.moved()
		o.wakeSampler()
		o.ring(s)
	}
	for r := range touched {
		if q := o.queues[r]; q != nil {
			o.decideWaits(q)
			o.tellForeign(r, q)
			q.ring()
		}
	}
}

// put takes a key and returns what has one owner to which it belongs, if it does. A key
// that berth did not write has no effect: a person may have put it there by hand. But no
// member can have an address of the pool while such a key is in its place.
func (o *observer) put(s *span, kv *mvccpb.KeyValue) (r ref, ok bool) {
	o.etcd.history.remember(s.era, kv)
	dir, r, rest := o.keys.parse(string(kv.Key))
	switch dir {
	case ipsDir, nodesDir, drainedDir:
		o.putPool(dir, r.name, rest, kv)
		return ref{}, false
	case membersDir:
		if rest == "" {
			o.putNode(o.members, r.name, kv)
		}
		return ref{}, false
	case addedDir:
		o.added.put(r.name, rest, AddedValue{kv.Value, kv.ModRevision})
		return ref{}, false
	case heldDir:
		if rest != "" {
			return ref{}, false
		}
		o.enter(r, kv)
	case electionsDir:
		if rest == "" || kv.Lease == 0 {
			return ref{}, false
		}
		o.enter(r, kv)
	case releasedDir:
		var v released
		o.decode(kv, &v)
		o.queue(r).released = v.Token
	case withdrawnDir:
		var v released
		o.decode(kv, &v)
		q := o.queue(r)
		q.withdrawn, q.gaveUp = append(q.withdrawn, v.Token), true
	case wantedDir:
		var w wanted
		o.decode(kv, &w)
		o.queue(r).wanted = w
	default:
		return ref{}, false
	}
	return r, true
}

// enter takes the key of a candidate.
func (o *observer) enter(r ref, kv *mvccpb.KeyValue) {
	e := entry{key: string(kv.Key), lease: clientv3.LeaseID(kv.Lease), token: kv.CreateRevision}
	if r.pool {
		o.decode(kv, &e.candidacy)
	} else {
		e.candidacy = readCandidacy(kv.Value)
	}
	o.lasts(time.Duration(e.TTL) * time.Second)
	q := o.queue(r)
	q.entries = slices.DeleteFunc(q.entries, func(other entry) bool { return other.key == e.key })
	q.entries = append(q.entries, e)
	slices.SortFunc(q.entries, func(a, b entry) int { return int(a.token - b.token) })
}

func (o *observer) decode(kv *mvccpb.KeyValue, to any) {
	if err := json.Unmarshal(kv.Value, to); err != nil {
		o.journal.Tell(etcdKeyForeign, zap.ByteString("key", kv.Key), zap.Error(err))
	}
}

func (o *observer) remove(key string) (r ref, ok bool) {
	dir, r, rest := o.keys.parse(key)
	switch dir {
	case ipsDir, nodesDir, drainedDir:
		o.removePool(dir, r.name, rest)
		return ref{}, false
	case membersDir:
		if rest == "" {
			o.members.remove(r.name)
		}
		return ref{}, false
	case addedDir:
		o.added.remove(r.name, rest)
		return ref{}, false
	}
	q := o.queues[r]
	if q == nil {
		return ref{}, false
	}
	switch dir {
	case electionsDir, heldDir:
		if len(q.entries) == 0 {
			return ref{}, false
		}
		owner := q.entries[0]
		q.entries = slices.DeleteFunc(q.entries, func(e entry) bool { return e.key == key })
		o.vanish(q, owner)
	case releasedDir:
		q.released = 0
	case withdrawnDir:
		q.gaveUp = false
	case wantedDir:
		q.wanted = wanted{}
	}
	return r, true
}
