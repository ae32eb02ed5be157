package election

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Addresses of a pool, and those that are added at run time, come and go, and the records
// of those that are gone must not stay for ever. One member deletes them, when no former
// holder can act any more.

// tidyInterval is how often records are deleted. A record goes in the second round in
// which its address is not in use, so that each lease of before has ended.
const tidyInterval = maxTTL

// tidyRecords deletes records of addresses that are not in use any more, until ctx ends.
func (m *Member) tidyRecords(ctx context.Context) {
	var before []ref
	every(ctx, tidyInterval, func() {
		unused := m.observer.unusedRecords(m.Name)
		for _, r := range unused {
			if slices.Contains(before, r) {
				m.deleteRecords(ctx, r)
			}
		}
		m.observer.forget()
		before = unused
	})
}

// unusedRecords returns the addresses with records that are not in use, where the member is
// the one that deletes them: the first of those that take part in the pool, or that tell of
// themselves.
func (o *observer) unusedRecords(member string) (unused []ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	used := o.used()
	for r, q := range o.queues {
		address := addressOf(r.name)
		if address.IsValid() && !used[address] && q.recorded() && o.roster(r).first(member) {
			unused = append(unused, r)
		}
	}
	return unused
}

// recorded reports whether there is a record of a key that was given up.
func (q *queue) recorded() bool { return q.released != 0 || q.gaveUp }

// roster returns the members of which one has the records of r to tidy.
func (o *observer) roster(r ref) *roster {
	if r.pool {
		return o.pool.nodes
	}
	return o.members
}

// first reports whether no member in the roster stands before one.
func (r *roster) first(member string) bool {
	for name := range r.nodes {
		if name < member {
			return false
		}
	}
	return true
}

// used returns the addresses that are in the pool, that are added to a member, or for which
// there is a candidate or a campaign of this process. A record can be that of either kind:
// the pool and the elections can have one prefix.
func (o *observer) used() map[netip.Addr]bool {
	used := map[netip.Addr]bool{}
	if o.pool != nil {
		for ip := range o.pool.ips {
			address, _, _ := strings.Cut(ip, "/")
			used[addressOf(address)] = true
		}
	}
	for _, added := range o.added.members {
		for rest := range added {
			used[addressOf(addedName(rest))] = true
		}
	}
	for r, q := range o.queues {
		if len(q.entries) > 0 || q.campaigns > 0 {
			used[addressOf(r.name)] = true
		}
	}
	return used
}

// addressOf returns the address that a name in a key is, however it is written; the zero
// one if it is none.
func addressOf(name string) netip.Addr {
	address, _ := netip.ParseAddr(name)
	return address
}

// forget forgets addresses that are not in use any more, of which nothing is known that any
// part needs.
func (o *observer) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	used, now := o.used(), time.Now()
	for r, q := range o.queues {
		q.expire(now)
		address := addressOf(r.name)
		if address.IsValid() && !used[address] && !q.recorded() && q.forgettable() && now.Sub(q.vacated) > tidyInterval {
			delete(o.queues, r)
		}
	}
}

// deleteRecords deletes the records of an address for which there is no candidate.
func (m *Member) deleteRecords(ctx context.Context, r ref) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	place := m.observer.keys.place(r)
	none := clientv3.Compare(clientv3.CreateRevision(place), "=", 0)
	if !r.pool { // the place has a key for each candidate
		none = none.WithPrefix()
	}
	_, err := m.writer.commit(ctx, place, transaction{
		when: none,
		then: []clientv3.Op{clientv3.OpDelete(m.observer.keys.record(releasedDir, r)), clientv3.OpDelete(m.observer.keys.record(withdrawnDir, r))},
	})
	if err != nil { // the next round does
		m.Journal.Debug("cannot delete the records of an address that is not in use", zap.String("instance", r.name), zap.Error(err))
	}
}
