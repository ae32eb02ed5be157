package faults_test

import (
	"strings"
	"testing"
	"time"

	"berth/test/faults"
)

// The clock faults prove something only if the clock is wrong, and only that of one
// berth.
func TestClockGoesWrongOnOneHostOnly(t *testing.T) {
	if clockBerth == "" {
		t.Skip("built only when a fault of the clock is asked for: make faults")
	}
	t.Parallel()
	l := newLab(t, faults.Options{Berth: clockBerth, Clock: true})
	if err := l.Hosts[0].SetClock(time.Hour); err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{time.Hour, 0} {
		h := l.Hosts[i]
		// The refusal comes at once, and its line has the time.
		if err := h.Node.WriteFile(faults.ConfigPath, "unknown-key: 1\n", 0o600); err != nil {
			t.Fatal(err)
		}
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
		<-h.Berth.Said()
		stamp, _, _ := strings.Cut(h.Berth.Log.String(), " ")
		at, err := time.Parse(time.RFC3339, stamp)
		if off := time.Until(at) - want; err != nil || off.Abs() > time.Minute {
			t.Errorf("%s: want a clock that is off by %v, got %v, %v in %s", h.Name(), want, off+want, err, h.Berth.Log)
		}
	}
}
