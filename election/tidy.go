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

// Addresses of a pool come and go, and the records of those that are gone must not stay
// for ever. One member deletes them, when no former holder can act any more.

// tidyInterval is how often records are deleted. A record goes in the second round in
// which its address is not in the pool, so that each lease of before has ended.
const tidyInterval = maxTTL

// tidyRecords deletes records of addresses that are not in the pool any more, until ctx
// ends.
func (m *Member) tidyRecords(ctx context.Context) {
	if m.PoolPrefix == "" {
		return
	}
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

// unusedRecords returns the addresses with records that are neither in the pool nor held,
// where the member is the one that deletes them: the first of those that take part.
func (o *observer) unusedRecords(member string) (unused []ref) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pool
	for name := range p.nodes.nodes {
		if name < member {
			return nil
		}
	}
	listed := p.listed()
	for r, q := range o.queues {
		if r.pool && !listed[addressOf(r.name)] && len(q.entries) == 0 && (q.released != 0 || q.gaveUp) {
			unused = append(unused, r)
		}
	}
	return unused
}

// listed returns the addresses that are in the pool.
func (p *poolCopy) listed() map[netip.Addr]bool {
	listed := map[netip.Addr]bool{}
	for ip := range p.ips {
		address, _, _ := strings.Cut(ip, "/")
		listed[addressOf(address)] = true
	}
	delete(listed, netip.Addr{})
	return listed
}

// addressOf returns the address that a name in a key is, however it is written; the zero
// one if it is none.
func addressOf(name string) netip.Addr {
	address, _ := netip.ParseAddr(name)
	return address
}

// forget forgets addresses that are not in the pool any more, of which nothing is known
// that any part needs.
func (o *observer) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	listed, now := o.pool.listed(), time.Now()
	for r, q := range o.queues {
		q.expire(now)
		recorded := q.released != 0 || q.gaveUp
		if r.pool && !listed[addressOf(r.name)] && !recorded && q.forgettable() && now.Sub(q.vacated) > tidyInterval {
			delete(o.queues, r)
		}
	}
}

// deleteRecords deletes the records of an address that no member holds.
func (m *Member) deleteRecords(ctx context.Context, r ref) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	held := m.observer.keys.place(r)
	_, err := m.writer.commit(ctx, held, transaction{
		when: clientv3.Compare(clientv3.CreateRevision(held), "=", 0),
		then: []clientv3.Op{clientv3.OpDelete(m.observer.keys.record(releasedDir, r)), clientv3.OpDelete(m.observer.keys.record(withdrawnDir, r))},
	})
	if err != nil { // the next round does
		m.Journal.Debug("cannot delete the records of an address that is not in the pool", zap.String("instance", r.name), zap.Error(err))
	}
}
