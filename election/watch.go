package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	defer o.watching.Drop()
	for n := 0; ; n++ {
		current, err := o.follow(ctx, o.etcd.pick(n))
		o.mu.Lock()
		o.current = false
		o.mu.Unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// A watch that has ended is begun anew; a break of the history is said where it
		// is found.
		if !current && !errors.Is(err, ErrHistory) {
			o.watching.Fail(etcdUnwatched, err)
		} else {
			o.journal.Debug("the watch of the election has ended", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

// follow reads everything from an endpoint and then every change, until that
// fails. It reports whether everything was read.
func (o *observer) follow(ctx context.Context, endpoint int) (read bool, err error) {
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
	all, err := c.Get(listCtx, o.prefix, clientv3.WithPrefix())
	if err != nil {
		return false, o.etcd.at(endpoint, fmt.Errorf("list %s: %w", o.prefix, err))
	}
	// The library does not close the channel when ctx ends before it has begun.
	changes := c.Watch(ctx, o.prefix, clientv3.WithPrefix(), clientv3.WithRev(all.Header.Revision+1))
	// From here on the watch ends with the connection, and so with this history.
	if err := o.etcd.history.check(listCtx, c); err != nil {
		return false, o.etcd.at(endpoint, fmt.Errorf("compare the history below %s: %w", o.prefix, err))
	}
	cancelList()
	o.load(all.Kvs, all.Header.Revision, era)
	o.watching.Clear()
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
			o.apply(r.Events, r.Header.Revision)
		}
	}
}

// load replaces everything. A key that vanished with the history in which it was has
// been given up by no member: no rule that compares tokens holds across a break, and
// all new owners wait as quarantined says.
func (o *observer) load(kvs []*mvccpb.KeyValue, revision int64, era int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	former := o.queues
	o.queues = map[string]*queue{}
	broken := era != o.era
	o.era = era
	if o.quarantined().Before(time.Now()) {
		o.longest = o.ttl // the leases of before may be gone
	}
	for _, s := range o.samples {
		o.lasts(s.granted)
	}
	for name, q := range former { // a wait that has begun goes on
		o.queues[name] = &queue{campaigns: q.campaigns, until: q.until, former: q.former, unconfirmed: q.unconfirmed, doubled: q.doubled, changed: q.changed}
	}
	for _, kv := range kvs {
		o.put(kv)
	}
	for name, q := range o.queues {
		if f := former[name]; f != nil && len(f.entries) > 0 && !broken {
			q.vanish(f.entries[0])
		}
		o.decideWaits(q)
	}
	if o.revision == 0 {
		close(o.read)
	}
	o.revision, o.current = revision, true
	o.moved()
	for _, q := range o.queues {
		q.ring()
	}
	o.wakeSampler()
}

// apply takes changes of one or more revisions, whole.
func (o *observer) apply(events []*clientv3.Event, revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	touched := map[string]bool{}
	for _, ev := range events {
		if ev.Type == mvccpb.PUT {
			touched[o.put(ev.Kv)] = true
		} else {
			touched[o.remove(string(ev.Kv.Key))] = true
		}
	}
	// A progress notification has no events, and may be ahead of those on their way.
	if len(events) > 0 {
		o.revision = max(o.revision, revision)
		o.moved()
		o.wakeSampler()
	}
	for name := range touched {
		if q := o.queues[name]; q != nil {
			o.decideWaits(q)
			q.ring()
		}
	}
}

// put takes a key and returns the instance to which it belongs. A key that berth did
// not write has no effect: a person may have put it there by hand.
func (o *observer) put(kv *mvccpb.KeyValue) string {
	o.etcd.history.remember(o.era, kv)
	dir, instance, rest := split(o.prefix, string(kv.Key))
	switch dir {
	case electionsDir:
		if rest == "" || kv.Lease == 0 {
			return ""
		}
		e := entry{key: string(kv.Key), lease: clientv3.LeaseID(kv.Lease), token: kv.CreateRevision}
		o.decode(kv, &e.candidacy)
		o.lasts(time.Duration(e.TTL) * time.Second)
		q := o.queue(instance)
		q.entries = slices.DeleteFunc(q.entries, func(other entry) bool { return other.key == e.key })
		q.entries = append(q.entries, e)
		slices.SortFunc(q.entries, func(a, b entry) int { return int(a.token - b.token) })
	case releasedDir:
		var r released
		o.decode(kv, &r)
		o.queue(instance).released = r.Token
	case withdrawnDir:
		var r released
		o.decode(kv, &r)
		q := o.queue(instance)
		q.withdrawn = append(q.withdrawn, r.Token)
	case wantedDir:
		var w wanted
		o.decode(kv, &w)
		o.queue(instance).wanted = w
	default:
		return ""
	}
	return instance
}

func (o *observer) decode(kv *mvccpb.KeyValue, to any) {
	if err := json.Unmarshal(kv.Value, to); err != nil {
		o.journal.Tell(etcdKeyForeign, zap.ByteString("key", kv.Key), zap.Error(err))
	}
}

func (o *observer) remove(key string) string {
	dir, instance, _ := split(o.prefix, key)
	q := o.queues[instance]
	if q == nil {
		return ""
	}
	switch dir {
	case electionsDir:
		if len(q.entries) == 0 {
			return ""
		}
		owner := q.entries[0]
		q.entries = slices.DeleteFunc(q.entries, func(e entry) bool { return e.key == key })
		q.vanish(owner)
	case releasedDir:
		q.released = 0
	case wantedDir:
		q.wanted = wanted{}
	}
	return instance
}
