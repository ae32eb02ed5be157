package election_test

import (
	"strings"
	"testing"
	"time"

	"berth/election"
)

func TestReachSaysWhyEtcdCannotBeAsked(t *testing.T) {
	s := newStage(t, 1)
	w := s.tell(election.Options{Endpoints: s.cluster.Endpoints()}, "a", nil)
	until := func(what string, want func(error) bool) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(limit); !want(w.m.Reach()); {
			select {
			case <-tick.C:
			case <-end:
				t.Fatalf("want %s, got %v", what, w.m.Reach())
			}
		}
	}
	until("etcd to answer", func(err error) bool { return err == nil })
	if err := s.cluster.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	until("the watch to be interrupted", func(err error) bool { return err != nil })
	if took := time.Since(killed); took > ttl {
		t.Errorf("it took %v, longer than the lease", took)
	}
	until("the reason", func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "etcd does not answer: "+s.cluster.Endpoints()[0])
	})
	if err := s.cluster.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	until("etcd to answer again", func(err error) bool { return err == nil })
}
