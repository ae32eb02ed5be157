package election

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
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
func (a Asker) is(e entry, queue []entry) bool {
	own := func(e entry) bool { return !e.foreign && e.Member == a.Member && e.Identity == a.Identity }
	if slices.ContainsFunc(queue, own) {
		return own(e) || a.Identity == "" && !e.foreign && e.Member == a.Member
	}
	return e.same(candidacy{Member: a.Member, Identity: a.Identity})
}

// ambiguous returns an error if it cannot be told which of two members of one name asks.
func (a Asker) ambiguous(queue []entry) error {
	if a.Identity == "" && doubled(queue, a.Member) {
		return refusal("two hosts have the member name %s, and this run directory has no identity to tell which one this host is; give each another etcd.member", a.Member)
	}
	return nil
}

// doubled reports whether members of one name and different identities are in a queue.
func doubled(queue []entry, member string) bool {
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
	h.possible = func(queue []entry) (bool, error) {
		if !slices.ContainsFunc(queue, func(e entry) bool { return a.is(e, queue) }) {
			return false, refusal("member %s of this host does not take part in the election of %s; %s", a.Member, instance, present(queue))
		}
		if err := a.ambiguous(queue); err != nil {
			return false, err
		}
		for _, e := range queue[:slices.IndexFunc(queue, func(e entry) bool { return a.is(e, queue) })] {
			if e.foreign {
				return false, refusal("%s, which comes before this host in the queue of %s, is a program other than berth and answers no request; stop it on its host", e.Member, instance)
			}
		}
		return a.is(queue[0], queue), nil
	}
	h.heirs = func(queue []entry) []entry {
		return queue[1 : 1+slices.IndexFunc(queue, func(e entry) bool { return a.is(e, queue) })]
	}
	h.done = func(queue []entry) bool { return len(queue) > 0 && a.is(queue[0], queue) }
	return h.run(ctx)
}

// Release asks a member to give up an instance to any other, and returns when
// another is the owner. It fails with a *RefusedError if the member is not the owner, or
// if there is no other member.
func Release(ctx context.Context, e *Etcd, prefix string, places map[string]string, instance string, a Asker) error {
	h := handover{etcd: e, keys: keyspace{prefix: prefix, places: places}, instance: instance, wanted: wanted{Except: a.Member, Identity: a.Identity}}
	h.possible = func(queue []entry) (bool, error) {
		if err := a.ambiguous(queue); err != nil {
			return false, err
		}
		other := func(e entry) bool { return !a.is(e, queue) }
		switch {
		case !slices.ContainsFunc(queue, other):
			return false, refusal("no other member takes part in the election of %s; %s", instance, present(queue))
		case other(queue[0]):
			return false, refusal("%s is the owner of %s, not %s of this host, which has nothing to hand over", called(queue[0], queue), instance, a.Member)
		}
		return false, nil
	}
	h.heirs = func(queue []entry) []entry { return queue[1:2] }
	h.done = func(queue []entry) bool { return len(queue) > 0 && !a.is(queue[0], queue) }
	return h.run(ctx)
}

// called returns the name of a member, with its identity if another has the name too.
func called(e entry, queue []entry) string {
	if e.Identity != "" && doubled(queue, e.Member) {
		return fmt.Sprintf("%s (identity %s)", e.Member, e.Identity)
	}
	return e.Member
}

func present(queue []entry) string {
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
	possible func(queue []entry) (already bool, err error)
	// heirs returns the members behind the owner that must give way or take over, where the
	// hand-over is possible: while one of them stands in the queue and does not run, no member
	// comes after it.
	heirs func(queue []entry) []entry
	// done reports whether the owner is the wanted one.
	done func(queue []entry) bool
}

// run puts the request and waits until it is fulfilled.
func (h handover) run(ctx context.Context) error {
	queue, withdraw, err := h.ask(ctx)
	if withdraw == nil || err != nil {
		return err
	}
	defer withdraw()
	ctx, cancel := context.WithTimeoutCause(ctx, (handoverTTL+1)*time.Second, errors.New("the owner did not change in time"))
	defer cancel()
	for refusals := 0; ; {
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
		// The one that was to take over has become unable meanwhile: the owner goes on, or
		// comes back at once.
		if _, err := h.possible(queue); err == nil || len(queue) == 0 {
			refusals = 0
		} else if refusals++; refusals == 2 {
			return err
		}
	}
}

// askTries is how often the queue is read before a hand-over is found impossible: a
// member that has just yielded to another, or has just been started, comes soon, and a
// member that runs renews its lease soon.
const askTries = 10

// ask puts the request if the hand-over is possible. withdraw ends the request; it is nil
// where there is nothing to hand over.
func (h handover) ask(ctx context.Context) (queue []entry, withdraw func(), err error) {
	for tries := 0; ; tries++ {
		var unread error
		if queue, unread = h.queue(ctx); unread != nil {
			return nil, nil, unread
		}
		already, refused := h.possible(queue)
		if already {
			return queue, nil, nil
		}
		if refused == nil {
			if refused = h.alive(ctx, h.heirs(queue)); refused == nil {
				if withdraw, err = h.put(ctx, h.heirs(queue)); withdraw != nil || err != nil {
					return queue, withdraw, err
				}
				refused = refusal("the queue of %s changes at this moment; try again", h.instance)
			}
		}
		if tries == askTries {
			return queue, nil, refused
		}
		select {
		case <-ctx.Done():
			return queue, nil, refused
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// overdue is after how long without a renewal a member may be one that does not run: each
// renews its lease once in a second at least, and this is asked more than once.
const overdue = time.Second

// overdueOf returns after how long without a renewal a member may not run. The client
// library of etcd, which other programs use, renews a lease after a third of its time.
func overdueOf(e entry, granted time.Duration) time.Duration {
	if e.foreign {
		return granted/3 + overdue
	}
	return overdue
}

// alive returns an error if one of the members does not renew its lease: its process was
// killed or frozen, or has lost etcd. A lease of which etcd does not tell is no reason to refuse.
func (h handover) alive(ctx context.Context, members []entry) error {
	refusals := make([]error, len(members))
	var asking sync.WaitGroup
	for i, e := range members {
		asking.Go(func() {
			asking, cancel := context.WithTimeout(ctx, requestTime)
			defer cancel()
			s, alive, err := timeToLive(asking, h.etcd, e.lease)
			// etcd tells whole seconds, cut off.
			if quiet := s.granted - s.left - time.Second; err == nil && alive && quiet >= overdueOf(e, s.granted) {
				refusals[i] = refusal("member %s, which is in the queue of %s, has not renewed its lease for %v; its place is free in %v at the latest",
					e.Member, h.instance, quiet, s.left+time.Second)
			}
		})
	}
	asking.Wait()
	return cmp.Or(refusals...)
}

// put puts the request into etcd, under a lease of its own, if the heirs are still in the
// queue: the owner gives up to no other. withdraw ends the request; it is nil if they are
// not.
func (h handover) put(ctx context.Context, heirs []entry) (withdraw func(), err error) {
	value, err := json.Marshal(h.wanted)
	if err != nil {
		return nil, err
	}
	var present []clientv3.Cmp
	for _, e := range heirs {
		present = append(present, clientv3.Compare(clientv3.CreateRevision(e.key), "=", e.token))
	}
	type answer struct {
		lease clientv3.LeaseID
		put   bool
	}
	a, err := call(ctx, h.etcd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
		l, err := c.Grant(ctx, handoverTTL)
		if err != nil {
			return answer{}, err
		}
		r, err := c.Txn(ctx).If(present...).Then(clientv3.OpPut(h.keys.prefix+wantedDir+url.PathEscape(h.instance), string(value), clientv3.WithLease(l.ID))).Commit()
		return answer{l.ID, err == nil && r.Succeeded}, err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", h.instance, err)
	}
	withdraw = func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
		defer cancel()
		_, _ = call(end, h.etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
			return c.Revoke(ctx, a.lease)
		}) // it ends by itself, soon
	}
	if !a.put {
		withdraw()
		return nil, nil
	}
	return withdraw, nil
}

// queue reads the queue of the instance, the owner first.
func (h handover) queue(ctx context.Context) ([]entry, error) {
	dir := h.keys.place(ref{name: h.instance})
	r, err := call(ctx, h.etcd, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
		return c.Get(ctx, dir, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	})
	if err != nil {
		return nil, fmt.Errorf("read the election: %w", err)
	}
	var queue []entry
	for _, kv := range r.Kvs {
		if kv.Lease != 0 {
			queue = append(queue, entry{readCandidacy(kv.Value), string(kv.Key), clientv3.LeaseID(kv.Lease), kv.CreateRevision})
		}
	}
	return queue, nil
}
