package election

import (
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/condition"
)

// A process that was stopped for longer than its lease, and runs again, finds its lease at
// an end and etcd's last answer long ago. Another member has become the owner meanwhile, and
// etcd tells that when it is asked.
func TestAStandstillOfTheProcessIsNoSilenceOfEtcd(t *testing.T) {
	runs := func(k *candidate, d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(retainTick) {
			k.m.pulse.beat()
		}
	}
	candidates := func() *candidate {
		k := newCandidate(condition.All())
		k.Alone = true
		k.m.session.begin()
		k.m.pulse.beat()
		return k
	}
	for _, row := range []struct {
		name       string
		stands     time.Duration // the process, at first
		runs       time.Duration // after that
		want       bool
		unattended bool // no beat between the standstill and the question
	}{
		{"it runs, and the lease is not over", 0, 3 * time.Second, false, false},
		{"it runs, and the lease is over", 0, 4 * time.Second, true, false},
		{"it stood still for a week", 168 * time.Hour, 0, false, true},
		{"it stood still, and has not run for a second", 10 * time.Second, 500 * time.Millisecond, false, false},
		{"it stood still, and has run for a second", 10 * time.Second, time.Second, true, false},
		{"it stood still for less than the lease", 2 * time.Second, 1500 * time.Millisecond, false, false},
		{"it stood still for less than the lease, which is over", 2 * time.Second, 2 * time.Second, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := candidates()
				time.Sleep(row.stands)
				if !row.unattended {
					runs(k, row.runs)
				}
				v, _ := k.m.observer.view(k.ref())
				if got := k.mayActAlone(v); got != row.want {
					t.Errorf("want the permission to act without etcd: %t, got %t", row.want, got)
				}
			})
		})
	}
}

// The permission of a member that acts without etcd ends by itself where the process stands
// still, with a reason of its own: etcd has not answered.
func TestAStandstillIsNoAnswerOfEtcd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCandidate(condition.All())
		k.Alone = true
		k.m.session.begin()
		k.m.pulse.beat()
		time.Sleep(time.Minute)
		v, _ := k.m.observer.view(k.ref())
		if from, may := k.unservedFrom(v); !may || time.Until(from) > 0 {
			t.Errorf("want it unserved, got %t in %v", may, time.Until(from))
		}
	})
}

// With election.without-etcd: exit a process that was stopped for a while does not end
// before etcd has had the time to answer.
func TestAMemberThatStoodStillIsUnservedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCandidate(condition.All())
		k.m.session.begin()
		k.m.pulse.beat()
		time.Sleep(time.Minute)
		runs := time.Now()
		if err := k.m.Unserved(t.Context()); err == nil || time.Since(runs) != answerTime {
			t.Errorf("want an error after %v, got %v after %v", answerTime, err, time.Since(runs))
		}
	})
}
