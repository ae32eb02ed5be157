package election

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// A key under the lease of this process for which it has no campaign would keep all other
// members out for as long as the lease lives. A campaign can end before etcd has deleted
// its key, or before a request to put the key has come through; and the process before this
// one can have left keys for campaigns that this one does not have.

// leftKey is a key that is to be given up without a campaign.
type leftKey struct {
	of     ref
	key    string
	token  int64
	tenure tenure
	lease  clientv3.LeaseID
}

// left is such keys.
type left struct {
	mu   sync.Mutex // guards both
	keys []leftKey
	told map[string]bool // keys about which a line was logged
}

// add notes a key, unless it is known.
func (l *left) add(k leftKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(l.keys, func(other leftKey) bool { return other.key == k.key && other.token == k.token }) {
		l.keys = append(l.keys, k)
	}
}

// take removes the keys of what has a campaign again, which gives them up, and returns the
// newest: of the others nothing is left in etcd.
func (l *left) take(r ref) (newest leftKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = slices.DeleteFunc(l.keys, func(k leftKey) bool {
		if k.of == r && k.token > newest.token {
			newest = k
		}
		return k.of == r
	})
	return newest
}

// resignLeft gives such keys up, until ctx ends.
func (m *Member) resignLeft(ctx context.Context) {
	every(ctx, resignTime, func() {
		m.left.mu.Lock()
		m.left.keys = slices.DeleteFunc(m.left.keys, func(k leftKey) bool { return k.lease != m.session.Lease() })
		keys := slices.Clone(m.left.keys)
		m.left.mu.Unlock()
		var resigning sync.WaitGroup
		for _, k := range keys {
			// A key whose instance has a campaign again is the affair of that. A campaign that
			// has just left a key is about to end.
			if !m.observer.hasCampaign(k.of) {
				resigning.Go(func() { m.resignLeftKey(ctx, k) })
			}
		}
		resigning.Wait()
	})
}

func (m *Member) resignLeftKey(ctx context.Context, k leftKey) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := m.resign(ctx, k.of, k.key, k.token, k.tenure)
	m.left.mu.Lock()
	defer m.left.mu.Unlock()
	if err == nil {
		m.left.keys = slices.DeleteFunc(m.left.keys, func(other leftKey) bool { return other == k })
		delete(m.left.told, k.key)
		return
	}
	// It is tried again in a while.
	if stubborn(err) && !errors.Is(err, context.Canceled) && !m.left.told[k.key] {
		if m.left.told == nil {
			m.left.told = map[string]bool{}
		}
		m.left.told[k.key] = true
		m.Journal.Tell(keyLeft, zap.String("instance", k.of.name), zap.Error(err))
	}
}

// claimTime is how long a key may be without a campaign, unless Member.Late is longer. The
// campaigns of instances of the configuration begin at once; those of addresses that were
// added at run time begin when the keys below added/ are known, as the key is.
const claimTime = 3 * time.Second

// resignUnclaimed finds the keys under the lease in use that have had no campaign for
// that time, and has resignLeft give them up, until ctx ends.
func (m *Member) resignUnclaimed(ctx context.Context) {
	if _, err := m.begun(ctx); err != nil {
		return
	}
	unclaimed := func() []leftKey {
		lease := m.session.Lease()
		return m.observer.unclaimed(lease, lease == m.Adopt)
	}
	before := unclaimed()
	every(ctx, max(claimTime, m.Late), func() {
		m.observer.unclaimedNodes()
		found := unclaimed()
		for _, k := range found {
			if slices.Contains(before, k) {
				m.left.add(k)
			}
		}
		before = found
	})
}

// unclaimed returns the keys under a lease, which may be adopted, for which this process
// has no campaign.
func (o *observer) unclaimed(lease clientv3.LeaseID, adopted bool) (found []leftKey) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for r, q := range o.queues {
		for _, e := range q.entries {
			if lease == 0 || e.lease != lease || q.campaigns > 0 {
				continue
			}
			// The process before this one has owned with its keys. With a key of this process
			// no campaign has owned, but one may have waited for a former owner.
			k := leftKey{r, e.key, e.token, unknown, lease}
			if adopted && e.token <= q.place.began {
				k.tenure = hasOwned
			}
			found = append(found, k)
		}
	}
	return found
}
