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

// contest is what the board knows of one instance.
type contest struct {
	follows  int     // campaigns of this process
	queue    []entry // the owner first
	gone     []entry // former owners that judge has not seen yet
	released int64
	// withdrawn are tokens that were given up unused, since judge has last seen.
	withdrawn []int64
	until     time.Time // nobody new may own before, see judge
	former    string    // the member on whose account
	doubts    []doubt   // to be settled by whoever owns next
	wish      wish
	doubled   bool // another host takes part under the name of this one
	changed   chan struct{}
}

// Board is a copy of what the members have in etcd below the prefix, kept
// current by one watch for all instances. It is safe for concurrent use.
type Board struct {
	etcd   *Etcd
	prefix string
	ttl    time.Duration               // stands for that of a lease of which nothing was seen
	had    func(clientv3.LeaseID) bool // whether a lease is or was this process's
	moved  func()                      // told of each change, with the lock held; must not block
	log    *zap.Logger

	mu       sync.Mutex
	current  bool // the watch is alive
	era      int  // of etcd's history, to which the rest belongs
	revision int64
	contests map[string]*contest
	samples  map[clientv3.LeaseID]sample
	longest  time.Duration                  // to live of a lease in use
	met      map[clientv3.LeaseID]time.Time // when leases of others of our name were first seen
	news     chan struct{}                  // one slot: a lease may be new
	read     chan struct{}                  // closed when everything was read for the first time
}

func newBoard(m *Member) *Board {
	return &Board{etcd: m.Etcd, prefix: m.Prefix, ttl: m.TTL, had: m.session.had, moved: m.Moved, log: m.Log, contests: map[string]*contest{},
		samples: map[clientv3.LeaseID]sample{}, met: map[clientv3.LeaseID]time.Time{}, longest: max(m.TTL, time.Duration(m.Past.Longest)*time.Second), news: make(chan struct{}, 1), read: make(chan struct{})}
}

// view is a copy of a contest at a revision.
type view struct {
	queue    []entry
	until    time.Time
	former   string
	doubts   []doubt
	wish     wish
	revision int64
	era      int
	// broken says that until is that of a break of etcd's history.
	broken bool
}

// newest returns the token of who came last, 0 if nobody is there.
func (v view) newest() int64 {
	if len(v.queue) == 0 {
		return 0
	}
	return v.queue[len(v.queue)-1].token
}

// of returns what is known of an instance and a channel that is closed at the
// next change of it.
func (b *Board) of(instance string) (view, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.contest(instance)
	v := view{slices.Clone(c.queue), c.until, c.former, slices.Clone(c.doubts), c.wish, b.revision, b.era, false}
	if until := b.quarantined(); until.After(v.until) {
		v.until, v.former, v.broken = until, "", true
	}
	return v, c.changed
}

// quarantined returns until when nobody new may own because etcd's history has
// broken: an owner of the former history may not have noticed before its lease must
// have ended. It is called with the lock held.
func (b *Board) quarantined() time.Time {
	_, _, broke := b.etcd.history.current()
	if broke.IsZero() {
		return broke
	}
	return broke.Add(b.longest)
}

func (b *Board) quarantine() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.quarantined()
}

func (b *Board) longestLease() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.longest
}

// lasts takes the time to live of a lease that is in use. It is called with the lock
// held.
func (b *Board) lasts(ttl time.Duration) { b.longest = max(b.longest, min(ttl, maxTTL)) }

// maxTTL bounds what is believed of others' leases: somebody may have put a value
// there by hand.
const maxTTL = 10 * time.Minute

// Owner returns the member that has the instance by etcd's word, as far as this
// host hears it; ok is false when nobody has it or nothing is heard.
func (b *Board) Owner(instance string) (member string, lease clientv3.LeaseID, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.contests[instance]
	era, _, _ := b.etcd.history.current()
	if !b.current || b.era != era || c == nil || len(c.queue) == 0 {
		return "", 0, false
	}
	return c.queue[0].Member, c.queue[0].lease, true
}

// places returns the instances in whose queues a lease has a place.
func (b *Board) places(lease clientv3.LeaseID) map[string]entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string]entry{}
	for name, c := range b.contests {
		for _, e := range c.queue {
			if e.lease == lease {
				found[name] = e
			}
		}
	}
	return found
}

// follow notes that a campaign for an instance begins; call what it returns when
// that has ended.
func (b *Board) follow(instance string) (end func()) {
	add := func(n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.contest(instance).follows += n
	}
	add(1)
	b.look()
	return func() { add(-1) }
}

// followed reports whether there is a campaign for an instance.
func (b *Board) followed(instance string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.contest(instance).follows > 0
}

func (b *Board) contest(instance string) *contest {
	c := b.contests[instance]
	if c == nil {
		c = &contest{changed: make(chan struct{})}
		b.contests[instance] = c
	}
	return c
}

func (c *contest) ring() {
	close(c.changed)
	c.changed = make(chan struct{})
}

const (
	// listTime bounds the reading of everything.
	listTime = 2 * time.Second
	// pulse is how often the watch is asked for a sign of life, silence how
	// long it may take to give one: a member of etcd that hangs says nothing.
	pulse   = 500 * time.Millisecond
	silence = 2 * time.Second
	// reconnect is the pause before the next endpoint is tried.
	reconnect = 100 * time.Millisecond
)

var errSilent = errors.New("the watch gives no sign of life")

// run keeps the copy current until ctx ends.
func (b *Board) run(ctx context.Context) error {
	failing := false
	for n := 0; ; n++ {
		current, err := b.copy(ctx, b.etcd.pick(n), func() {
			if failing {
				failing = false
				b.log.Info("following the election again")
			}
		})
		b.mu.Lock()
		b.current = false
		b.mu.Unlock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !current && !errors.Is(err, ErrHistory) { // that was told, and is the end of nothing else
			// The endpoint that answered last need not be the next to do so.
			if !failing {
				failing = true
				b.log.Warn("cannot follow the election; trying the other endpoints", zap.Error(err))
			}
		} else {
			b.log.Debug("the watch of the election has ended", zap.Error(err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

// copy reads everything from an endpoint and then every change, until that
// fails. It reports whether everything was read.
func (b *Board) copy(ctx context.Context, endpoint int, read func()) (bool, error) {
	c, err := b.etcd.client(endpoint)
	if err != nil {
		return false, err
	}
	// A member of etcd that has lost the others ends the watch.
	ctx, cancel := context.WithCancel(once(clientv3.WithRequireLeader(ctx)))
	defer cancel()
	era, over, _ := b.etcd.history.current()
	listCtx, cancelList := context.WithTimeout(ctx, listTime)
	defer cancelList()
	all, err := c.Get(listCtx, b.prefix, clientv3.WithPrefix())
	if err != nil {
		return false, b.etcd.at(endpoint, fmt.Errorf("list %s: %w", b.prefix, err))
	}
	// The library does not close the channel when ctx ends before it has begun.
	changes := c.Watch(ctx, b.prefix, clientv3.WithPrefix(), clientv3.WithRev(all.Header.Revision+1))
	// From here on the watch ends with the connection, and so with this history.
	if err := b.etcd.history.check(listCtx, c); err != nil {
		return false, b.etcd.at(endpoint, fmt.Errorf("compare the history below %s: %w", b.prefix, err))
	}
	cancelList()
	b.load(all.Kvs, all.Header.Revision, era)
	read()
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	heard := time.Now()
	for {
		select {
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case <-over:
			return true, ErrHistory
		case <-tick.C:
			if time.Since(heard) > silence {
				return true, errSilent
			}
			asking, cancel := context.WithTimeout(ctx, pulse)
			err := c.RequestProgress(asking)
			cancel()
			if err != nil && ctx.Err() == nil {
				b.log.Debug("cannot ask the watch for a sign of life", zap.Error(err))
			}
		case r, open := <-changes:
			if !open {
				return true, errors.New("the watch was closed")
			}
			if err := r.Err(); err != nil {
				return true, err
			}
			heard = time.Now()
			b.apply(r.Events, r.Header.Revision)
		}
	}
}

// load replaces everything. What vanished with the history in which it was, nobody
// gave up: no rule that compares tokens holds across a break, and everybody waits as
// quarantined says.
func (b *Board) load(kvs []*mvccpb.KeyValue, revision int64, era int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	former := b.contests
	b.contests = map[string]*contest{}
	broken := era != b.era
	b.era = era
	if b.quarantined().Before(time.Now()) {
		b.longest = b.ttl // of what is there no more
	}
	for _, s := range b.samples {
		b.lasts(s.granted)
	}
	for name, c := range former { // who waits for one goes on to
		b.contests[name] = &contest{follows: c.follows, until: c.until, former: c.former, doubts: c.doubts, doubled: c.doubled, changed: c.changed}
	}
	for _, kv := range kvs {
		b.put(kv)
	}
	for name, c := range b.contests {
		if f := former[name]; f != nil && len(f.queue) > 0 && !broken {
			c.vanish(f.queue[0])
		}
		b.judge(c)
	}
	if b.revision == 0 {
		close(b.read)
	}
	b.revision, b.current = revision, true
	b.moved()
	for _, c := range b.contests {
		c.ring()
	}
	b.look()
}

// apply takes changes of one or more revisions, whole.
func (b *Board) apply(events []*clientv3.Event, revision int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	touched := map[string]bool{}
	for _, ev := range events {
		if ev.Type == mvccpb.PUT {
			touched[b.put(ev.Kv)] = true
		} else {
			touched[b.remove(string(ev.Kv.Key))] = true
		}
	}
	// A sign of life has no events, and may be ahead of those on their way.
	if len(events) > 0 {
		b.revision = max(b.revision, revision)
		b.moved()
		b.look()
	}
	for name := range touched {
		if c := b.contests[name]; c != nil {
			b.judge(c)
			c.ring()
		}
	}
}

// look has the sampler look whether there is a new lease.
func (b *Board) look() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// put takes a key and returns the instance it is about. What is not ours, or
// not understood, has no effect: somebody may have put it there by hand.
func (b *Board) put(kv *mvccpb.KeyValue) string {
	b.etcd.history.remember(b.era, kv)
	dir, instance, rest := split(b.prefix, string(kv.Key))
	switch dir {
	case electionsDir:
		if rest == "" || kv.Lease == 0 {
			return ""
		}
		e := entry{key: string(kv.Key), lease: clientv3.LeaseID(kv.Lease), token: kv.CreateRevision}
		b.decode(kv, &e.Place)
		b.lasts(time.Duration(e.TTL) * time.Second)
		c := b.contest(instance)
		c.queue = slices.DeleteFunc(c.queue, func(o entry) bool { return o.key == e.key })
		c.queue = append(c.queue, e)
		slices.SortFunc(c.queue, func(a, b entry) int { return int(a.token - b.token) })
	case releasedDir:
		var r released
		b.decode(kv, &r)
		b.contest(instance).released = r.Token
	case withdrawnDir:
		var r released
		b.decode(kv, &r)
		c := b.contest(instance)
		c.withdrawn = append(c.withdrawn, r.Token)
	case wantedDir:
		var w wish
		b.decode(kv, &w)
		b.contest(instance).wish = w
	default:
		return ""
	}
	return instance
}

func (b *Board) decode(kv *mvccpb.KeyValue, to any) {
	if err := json.Unmarshal(kv.Value, to); err != nil {
		b.log.Warn("a key below the prefix has a value that is not berth's", zap.ByteString("key", kv.Key), zap.Error(err))
	}
}

func (b *Board) remove(key string) string {
	dir, instance, _ := split(b.prefix, key)
	c := b.contests[instance]
	if c == nil {
		return ""
	}
	switch dir {
	case electionsDir:
		if len(c.queue) == 0 {
			return ""
		}
		owner := c.queue[0]
		c.queue = slices.DeleteFunc(c.queue, func(e entry) bool { return e.key == key })
		c.vanish(owner)
	case releasedDir:
		c.released = 0
	case wantedDir:
		c.wish = wish{}
	}
	return instance
}

// vanish notes that the former owner is no longer there, if that is so.
func (c *contest) vanish(owner entry) {
	if !slices.ContainsFunc(c.queue, func(e entry) bool { return e.token == owner.token }) {
		c.gone = append(c.gone, owner)
	}
}
