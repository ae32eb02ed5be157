package election

import (
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// dropDoubles ends what tellDoubles told: the end of this process is not that of the
// other host.
func (o *observer) dropDoubles() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range o.queues {
		q.doubled.Drop()
	}
}

// tellDoubles tells for each instance when another host takes part under the name of
// this one, and when that has ended. A host that was booted again, cloned or started
// anew as a container leaves a key under its name for as long as its lease lives;
// so only a lease that outlives its time to live is another host's.
func (m *Member) tellDoubles() {
	o := m.observer
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	present := map[clientv3.LeaseID]bool{}
	for instance, q := range o.queues {
		var other *entry
		for i, e := range q.entries {
			if q.campaigns == 0 || e.Member != m.Name || m.is(e) {
				continue
			}
			present[e.lease] = true
			if o.firstSeen[e.lease].IsZero() {
				o.firstSeen[e.lease] = now
			}
			ttl := max(o.ttl, time.Duration(e.TTL)*time.Second, o.samples[e.lease].granted)
			if now.Sub(o.firstSeen[e.lease]) > ttl+sampleInterval {
				other = &q.entries[i]
			}
		}
		if q.doubled.Holds() == (other != nil) {
			continue
		}
		named := []zap.Field{zap.String("instance", instance), zap.String("member", m.Name)}
		if other != nil {
			q.doubled.Fail(memberDoubled, fmt.Errorf("the member of identity %q has lease %x", other.Identity, int64(other.lease)),
				append(named, zap.String("identity", m.Identity))...)
		} else {
			q.doubled.Clear(named...)
		}
		if m.Doubled != nil {
			m.Doubled(instance, other != nil)
		}
	}
	for lease := range o.firstSeen {
		if !present[lease] {
			delete(o.firstSeen, lease)
		}
	}
}
