package pool

import (
	"testing"

	"berth/ips"
)

// The last event of an address is one by which LinK's machine comes into its state.
func TestTheEventsAreThoseOfTheMachine(t *testing.T) {
	for _, from := range ips.States {
		for _, to := range []ips.State{ips.Activated, ips.Standby, ips.Failing} {
			for _, acknowledged := range []bool{true, false} {
				e := event(from, to, acknowledged)
				if from == ips.Failing && to == ips.Activated {
					from = ips.Next(from, ips.CheckSuccess, true) // two events at once
				}
				if got := ips.Next(from, e, true); from != to && got != to {
					t.Errorf("%s to %s: the event %s leads to %s", from, to, e, got)
				}
			}
		}
	}
}
