package election

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// handoverTTL is how long a request to hand over stands unless it is fulfilled, in
// seconds: for so long all members but the wanted one yield. It is about the
// least that etcd grants with its usual timing.
const handoverTTL = 2

// RefusedError says that a hand-over is not possible, and why. Nothing was changed.
type RefusedError struct{ Reason string }

// Error returns the reason.
func (e *RefusedError) Error() string { return e.Reason }

func refusal(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Asker is the member for which a hand-over is asked. Without an identity it is any
// member of its name.
type Asker struct{ Member, Identity string }

// is reports whether an entry of a queue is the asker's. An entry without an identity, of
// a berth that has none yet, is taken for the asker's unless the asker has an entry of
// its own.
func (a Asker) is(c candidacy, queue []candidacy) bool {
	own := func(c candidacy) bool { return c.Member == a.Member && c.Identity == a.Identity }
	if slices.ContainsFunc(queue, own) {
		return own(c) || a.Identity == "" && c.Member == a.Member
	}
	return c.same(candidacy{Member: a.Member, Identity: a.Identity})
}

// ambiguous returns an error if it cannot be told which of two members of one name asks.
func (a Asker) ambiguous(queue []candidacy) error {
	if a.Identity == "" && doubled(queue, a.Member) {
		return refusal("two hosts have the member name %s, and this run directory has no identity to tell which one this host is; give each another etcd.member", a.Member)
	}
	return nil
}

// doubled reports whether members of one name and different identities are in a queue.
func doubled(queue []candidacy, member string) bool {
	first := ""
	for _, c := range queue {
		if c.Member != member || c.Identity == "" {
			continue
		}
		if first != "" && first != c.Identity {
			return true
		}
		first = c.Identity
	}
	return false
}

// Takeover asks the owner of an instance to give up in favour of a member that
// takes part in its election, and returns when that is the owner. It fails with a
// *RefusedError if the member does not take part, and also if it does not become the owner. places are as in Member.
func Takeover(ctx context.Context, e *Etcd, prefix string, places map[string]string, instance string, a Asker) error {
	h := handover{etcd: e, keys: keyspace{prefix: prefix, places: places}, instance: instance, wanted: wanted{Member: a.Member, Identity: a.Identity}}
	h.possible = func(queue []candidacy) (bool, error) {
		if !slices.ContainsFunc(queue, func(c candidacy) bool { return a.is(c, queue) }) {
			return false, refusal("member %s of this host does not take part in the election of %s; %s", a.Member, instance, present(queue))
		}
		if err := a.ambiguous(queue); err != nil {
			return false, err
		}
		return a.is(queue[0], queue), nil
	}
	h.done = func(queue []candidacy) bool { return len(queue) > 0 && a.is(queue[0], queue) }
	return h.run(ctx)
}

// Release asks a member to give up an instance to any other, and returns when
// another is the owner. It fails with a *RefusedError if the member is not the owner, or
// if there is no other member.
func Release(ctx context.Context, e *Etcd, prefix string, places map[string]string, instance string, a Asker) error {
	h := handover{etcd: e, keys: keyspace{prefix: prefix, places: places}, instance: instance, wanted: wanted{Except: a.Member, Identity: a.Identity}}
	h.possible = func(queue []candidacy) (bool, error) {
		if err := a.ambiguous(queue); err != nil {
			return false, err
		}
		other := func(c candidacy) bool { return !a.is(c, queue) }
		switch {
		case !slices.ContainsFunc(queue, other):
			return false, refusal("no other member takes part in the election of %s; %s", instance, present(queue))
		case other(queue[0]):
			return false, refusal("%s is the owner of %s, not %s of this host, which has nothing to hand over", called(queue[0], queue), instance, a.Member)
		}
		return false, nil
	}
	h.done = func(queue []candidacy) bool { return len(queue) > 0 && !a.is(queue[0], queue) }
	return h.run(ctx)
}

// called returns the name of a member, with its identity if another has the name too.
func called(c candidacy, queue []candidacy) string {
	if c.Identity != "" && doubled(queue, c.Member) {
		return fmt.Sprintf("%s (identity %s)", c.Member, c.Identity)
	}
	return c.Member
}

func present(queue []candidacy) string {
	var names []string
	for _, c := range queue {
		names = append(names, called(c, queue))
	}
	if len(names) == 0 {
		return "no member takes part"
	}
	return "these take part: " + strings.Join(names, ", ")
}

// handover is a request to hand an instance over.
type handover struct {
	etcd     *Etcd
	keys     keyspace
	instance string
	wanted   wanted
	// possible reports whether the owner is the wanted one already, and returns why it
	// never will be.
	possible func(queue []candidacy) (already bool, err error)
	// done reports whether the owner is the wanted one.
	done func(queue []candidacy) bool
}

// run puts the request and waits until it is fulfilled.
func (h handover) run(ctx context.Context) error {
	queue, already, err := h.check(ctx)
	if already || err != nil {
		return err
	}
	withdraw, err := h.put(ctx)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", h.instance, err)
	}
	defer withdraw()
	ctx, cancel := context.WithTimeoutCause(ctx, (handoverTTL+1)*time.Second, errors.New("the owner did not change in time"))
	defer cancel()
	for {
		// Reading the queue is cheap, and a person waits.
		select {
		case <-ctx.Done():
			return fmt.Errorf("hand over %s: %w; %s", h.instance, context.Cause(ctx), present(queue))
		case <-time.After(50 * time.Millisecond):
		}
		next, err := h.queue(ctx)
		if err != nil {
			continue // the end of ctx tells it
		}
		queue = next
		// A member that yields is not in the queue, as it should be.
		if h.done(queue) {
			return nil
		}
	}
}

// checkTries is how often the queue is read before a hand-over is found impossible: a
// member that has just yielded to another, or has just been started, comes soon.
const checkTries = 10

// check reads the queue and reports whether there is nothing to hand over.
func (h handover) check(ctx context.Context) (queue []candidacy, already bool, err error) {
	if queue, err = h.queue(ctx); err != nil {
		return nil, false, err
	}
	for tries := 0; ; tries++ {
		already, err = h.possible(queue)
		if already || err == nil || tries == checkTries {
			return queue, already, err
		}
		select {
		case <-ctx.Done():
			return queue, false, err
		case <-time.After(100 * time.Millisecond):
		}
		if again, err := h.queue(ctx); err == nil {
			queue = again
		}
	}
}

// put puts the request into etcd, under a lease of its own. withdraw ends it.
func (h handover) put(ctx context.Context) (withdraw func(), err error) {
	value, err := json.Marshal(h.wanted)
	if err != nil {
		return nil, err
	}
	lease, err := call(ctx, h.etcd, func(ctx context.Context, c *clientv3.Client) (clientv3.LeaseID, error) {
		l, err := c.Grant(ctx, handoverTTL)
		if err != nil {
			return 0, err
		}
		_, err = c.Put(ctx, h.keys.prefix+wantedDir+url.PathEscape(h.instance), string(value), clientv3.WithLease(l.ID))
		return l.ID, err
	})
	if err != nil {
		return nil, err
	}
	return func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
		defer cancel()
		_, _ = call(end, h.etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
			return c.Revoke(ctx, lease)
		}) // it ends by itself, soon
	}, nil
}

// queue reads the queue of the instance, the owner first.
func (h handover) queue(ctx context.Context) ([]candidacy, error) {
	dir := h.keys.place(ref{name: h.instance})
	r, err := call(ctx, h.etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
		return c.Get(ctx, dir, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	})
	if err != nil {
		return nil, fmt.Errorf("read the election: %w", err)
	}
	var queue []candidacy
	for _, kv := range r.Kvs {
		var c candidacy
		if json.Unmarshal(kv.Value, &c) == nil {
			queue = append(queue, c)
		}
	}
	return queue, nil
}
