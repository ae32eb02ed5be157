package election

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// How long a new owner waits after the key of the former one vanished, from what
// was last seen of its lease.
func TestEarly(t *testing.T) {
	const ttl, granted = 7 * time.Second, 5 * time.Second
	now := time.Now()
	seen := func(left, before time.Duration) *sample {
		return &sample{asked: now.Add(-before), answered: now.Add(-before + time.Millisecond), left: left, granted: granted}
	}
	for _, row := range []struct {
		name   string
		sample *sample // before the key vanished, which is now
		alive  bool
		want   time.Duration // from then
	}{
		{"nothing seen of the lease", nil, false, ttl},
		{"expired by itself", seen(time.Second, 1100*time.Millisecond), false, 0},
		{"expired by itself, not seen for long", seen(4*time.Second, 4100*time.Millisecond), false, 0},
		{"revoked right after a renewal", seen(4*time.Second, 500*time.Millisecond), false, granted},
		{"revoked with little left", seen(2*time.Second, 1900*time.Millisecond), false, granted},
		{"the key was deleted, the lease lives", seen(time.Second, 1100*time.Millisecond), true, granted},
		{"seen at the moment of its end", seen(0, 0), false, 0},
		{"an answer that took long", &sample{asked: now.Add(-3 * time.Second), answered: now, left: 2 * time.Second, granted: granted}, false, 1750 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBoard(nil, "", func() {}, nil)
			const lease clientv3.LeaseID = 1
			if row.sample != nil {
				b.samples[lease] = *row.sample
			}
			got := b.early(view{gone: vanished{entry{lease: lease, token: 1}, now}}, row.alive, ttl).Sub(now)
			if max(0, got) != row.want {
				t.Errorf("want %v, got %v", row.want, got)
			}
		})
	}
}
