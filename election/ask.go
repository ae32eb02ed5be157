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

// askTTL is how long a request to hand over stands unless it is fulfilled, in
// seconds: for so long all but the wanted member stand aside. It is about the
// least that etcd grants with its usual timing.
const askTTL = 2

// Asker is the member on whose behalf somebody asks. Without an identity it is any
// of its name.
type Asker struct{ Member, Identity string }

// is reports whether a place in a queue is the asker's. One without an identity, of a
// berth that has none yet, is taken for it unless the asker has a place of its own.
func (a Asker) is(p Place, queue []Place) bool {
	own := func(p Place) bool { return p.Member == a.Member && p.Identity == a.Identity }
	if slices.ContainsFunc(queue, own) {
		return own(p) || a.Identity == "" && p.Member == a.Member
	}
	return p.same(Place{Member: a.Member, Identity: a.Identity})
}

// doubled returns an error if it cannot be told which of two members of one name asks.
func (a Asker) doubled(queue []Place) error {
	if a.Identity == "" && doubles(queue, a.Member) {
		return fmt.Errorf("two hosts are member %s, and which of them is this one is not on record in its run directory; give each another etcd.member", a.Member)
	}
	return nil
}

// doubles reports whether members of one name and different identities are in a queue.
func doubles(queue []Place, member string) bool {
	first := ""
	for _, p := range queue {
		if p.Member != member || p.Identity == "" {
			continue
		}
		if first != "" && first != p.Identity {
			return true
		}
		first = p.Identity
	}
	return false
}

// Takeover asks the owner of an instance to give up in favour of a member that
// takes part in its election, and returns when that is the owner. It fails if
// the member does not take part or does not become the owner.
func Takeover(ctx context.Context, e *Etcd, prefix, instance string, a Asker) error {
	return ask(ctx, e, prefix, instance, wish{Member: a.Member, Identity: a.Identity}, func(queue []Place) (bool, error) {
		if !slices.ContainsFunc(queue, func(p Place) bool { return a.is(p, queue) }) {
			return false, fmt.Errorf("member %s of this host takes no part in the election of %s; %s", a.Member, instance, present(queue))
		}
		if err := a.doubled(queue); err != nil {
			return false, err
		}
		return a.is(queue[0], queue), nil
	}, func(queue []Place) bool { return len(queue) > 0 && a.is(queue[0], queue) })
}

// Release asks a member to give up an instance to any other, and returns when
// another is the owner. It fails if the member is not the owner, or if there is no
// other member.
func Release(ctx context.Context, e *Etcd, prefix, instance string, a Asker) error {
	return ask(ctx, e, prefix, instance, wish{Except: a.Member, Identity: a.Identity}, func(queue []Place) (bool, error) {
		if err := a.doubled(queue); err != nil {
			return false, err
		}
		other := func(p Place) bool { return !a.is(p, queue) }
		switch {
		case !slices.ContainsFunc(queue, other):
			return false, fmt.Errorf("nobody else takes part in the election of %s; %s", instance, present(queue))
		case other(queue[0]):
			return false, fmt.Errorf("%s is the owner of %s, not %s of this host, which has nothing to hand over", called(queue[0], queue), instance, a.Member)
		}
		return false, nil
	}, func(queue []Place) bool { return len(queue) > 0 && !a.is(queue[0], queue) })
}

// called returns the name of a member, with its identity if another has the name too.
func called(p Place, queue []Place) string {
	if p.Identity != "" && doubles(queue, p.Member) {
		return fmt.Sprintf("%s (identity %s)", p.Member, p.Identity)
	}
	return p.Member
}

func present(queue []Place) string {
	var names []string
	for _, p := range queue {
		names = append(names, called(p, queue))
	}
	if len(names) == 0 {
		return "nobody does"
	}
	return "these do: " + strings.Join(names, ", ")
}

// ask states a wish and waits until done says of the queue that it has come true.
// First it asks check whether that is so already, or never will be.
func ask(ctx context.Context, e *Etcd, prefix, instance string, w wish, check func(queue []Place) (bool, error), done func(queue []Place) bool) error {
	dir := prefix + electionsDir + url.PathEscape(instance) + "/"
	queue, err := readQueue(ctx, e, dir)
	if err != nil {
		return err
	}
	// Who has just stood aside for another, or has just been started, comes soon.
	for tries := 0; ; tries++ {
		ok, err := check(queue)
		if ok || err != nil && tries == 10 {
			return err
		}
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
		if again, err := readQueue(ctx, e, dir); err == nil {
			queue = again
		}
	}
	value, err := json.Marshal(w)
	if err != nil {
		return err
	}
	lease, err := call(ctx, e, func(ctx context.Context, c *clientv3.Client) (clientv3.LeaseID, error) {
		l, err := c.Grant(ctx, askTTL)
		if err != nil {
			return 0, err
		}
		_, err = c.Put(ctx, prefix+wantedDir+url.PathEscape(instance), string(value), clientv3.WithLease(l.ID))
		return l.ID, err
	})
	if err != nil {
		return fmt.Errorf("ask for %s: %w", instance, err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTime)
		defer cancel()
		_, _ = call(end, e, func(ctx context.Context, c *clientv3.Client) (*clientv3.LeaseRevokeResponse, error) {
			return c.Revoke(ctx, lease)
		}) // it ends by itself, soon
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, (askTTL+1)*time.Second, errors.New("it did not happen in time"))
	defer cancel()
	for {
		// Each look is a read of a few keys; the next one comes soon, because
		// somebody waits.
		select {
		case <-ctx.Done():
			return fmt.Errorf("hand over %s: %w; %s", instance, context.Cause(ctx), present(queue))
		case <-time.After(50 * time.Millisecond):
		}
		next, err := readQueue(ctx, e, dir)
		if err != nil {
			continue // told by the end of ctx
		}
		queue = next
		// Who stood aside is missing, which is as it should be.
		if done(queue) {
			return nil
		}
	}
}

func readQueue(ctx context.Context, e *Etcd, dir string) ([]Place, error) {
	r, err := call(ctx, e, func(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
		return c.Get(ctx, dir, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	})
	if err != nil {
		return nil, fmt.Errorf("read the election: %w", err)
	}
	var queue []Place
	for _, kv := range r.Kvs {
		var p Place
		if json.Unmarshal(kv.Value, &p) == nil {
			queue = append(queue, p)
		}
	}
	return queue, nil
}
