package condition_test

import (
	"testing"

	"berth/internal/condition"
)

func TestAllHoldsWhileEachDoesAndTellsTheFirstReason(t *testing.T) {
	var link, health condition.Value
	both := condition.All(&link, &health)
	changed, stop := condition.Signal(both)
	told := func() bool {
		select {
		case <-changed:
			return true
		default:
			return false
		}
	}
	steps := []struct {
		name       string
		set        func()
		told       bool
		holds      bool
		wantReason string
	}{
		{"nothing is known", func() {}, false, false, ""},
		{"one has a reason", func() { link.Set(false, "eth0 is down") }, true, false, "eth0 is down"},
		{"the same again", func() { link.Set(false, "eth0 is down") }, false, false, "eth0 is down"},
		{"both fail", func() { health.Set(false, "HTTP 500") }, true, false, "eth0 is down"},
		{"the first holds", func() { link.Set(true, "") }, true, false, "HTTP 500"},
		{"another reason", func() { health.Set(false, "timeout") }, true, false, "timeout"},
		{"both hold, and a reason does not count", func() { health.Set(true, "ignored") }, true, true, ""},
		{"the same again, with another reason", func() { health.Set(true, "other") }, false, true, ""},
		{"two changes are one signal", func() { health.Set(false, "a"); health.Set(true, "") }, true, true, ""},
	}
	for _, s := range steps {
		s.set()
		if got := told(); got != s.told {
			t.Errorf("%s: signal %v, want %v", s.name, got, s.told)
		}
		if holds, reason := both.State(); holds != s.holds || reason != s.wantReason {
			t.Errorf("%s: got %v %q, want %v %q", s.name, holds, reason, s.holds, s.wantReason)
		}
	}
	stop()
	link.Set(false, "gone")
	if told() {
		t.Error("told after the end")
	}
}

func TestAllOfNoneHolds(t *testing.T) {
	if holds, reason := condition.All().State(); !holds || reason != "" {
		t.Errorf("got %v %q", holds, reason)
	}
}
