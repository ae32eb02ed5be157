package election

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// tellDoubles says of each instance when another host takes part under the name of
// this one, and when that has ended. A host that was booted again, cloned or started
// anew as a container leaves a place under its name for as long as its lease lives;
// so only a lease that outlives its time to live is another host's.
func (m *Member) tellDoubles() {
	b := m.board
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	present := map[clientv3.LeaseID]bool{}
	for instance, c := range b.contests {
		var other *entry
		for i, e := range c.queue {
			if c.follows == 0 || e.Member != m.Name || m.is(e) {
				continue
			}
			present[e.lease] = true
			if b.met[e.lease].IsZero() {
				b.met[e.lease] = now
			}
			ttl := max(b.ttl, time.Duration(e.TTL)*time.Second, b.samples[e.lease].granted)
			if now.Sub(b.met[e.lease]) > ttl+sampleInterval {
				other = &c.queue[i]
			}
		}
		if c.doubled == (other != nil) {
			continue
		}
		c.doubled = other != nil
		if c.doubled {
			m.Log.Error("another host takes part in the election under the name of this one; give each an etcd.member of its own",
				zap.String("instance", instance), zap.String("member", m.Name), zap.String("identity", m.Identity),
				zap.String("other_identity", other.Identity), zap.Int64("other_lease", int64(other.lease)))
		} else {
			m.Log.Info("no other host takes part under the name of this one any more", zap.String("instance", instance), zap.String("member", m.Name))
		}
		if m.Doubled != nil {
			m.Doubled(instance, c.doubled)
		}
	}
	for lease := range b.met {
		if !present[lease] {
			delete(b.met, lease)
		}
	}
}
