package ips_test

import (
	"testing"

	"berth/ips"
)

// linksMachine is the machine of LinK v1.9.3 and v3.3, as both were run: the next state by
// event and state.
var linksMachine = map[ips.Event]map[ips.State]ips.State{
	ips.Fault:        {ips.Booting: ips.Activated, ips.Activated: ips.Activated, ips.Standby: ips.Activated, ips.Failing: ips.Failing},
	ips.Elected:      {ips.Booting: ips.Activated, ips.Activated: ips.Activated, ips.Standby: ips.Activated, ips.Failing: ips.Failing},
	ips.Demoted:      {ips.Booting: ips.Standby, ips.Activated: ips.Standby, ips.Standby: ips.Standby, ips.Failing: ips.Failing},
	ips.CheckFail:    {ips.Booting: ips.Failing, ips.Activated: ips.Failing, ips.Standby: ips.Failing, ips.Failing: ips.Failing},
	ips.CheckSuccess: {ips.Booting: ips.Booting, ips.Activated: ips.Activated, ips.Standby: ips.Standby, ips.Failing: ips.Standby},
}

func TestTheMachineIsLinKsWhereMembersClaim(t *testing.T) {
	pairs := 0
	for _, e := range ips.Events {
		for _, s := range ips.States {
			pairs++
			if want, got := linksMachine[e][s], ips.Next(s, e, true); got != want {
				t.Errorf("%s in %s: want %s, got %s", e, s, want, got)
			}
		}
	}
	if pairs != 20 {
		t.Errorf("want 20 pairs, got %d", pairs)
	}
}

func TestAFaultMakesNoOwnerWhereMembersDoNotClaim(t *testing.T) {
	differs := map[ips.Event]map[ips.State]ips.State{
		ips.Fault: {ips.Booting: ips.Booting, ips.Activated: ips.Standby, ips.Standby: ips.Standby},
	}
	for _, e := range ips.Events {
		for _, s := range ips.States {
			want, named := differs[e][s]
			if !named {
				want = linksMachine[e][s]
			}
			if got := ips.Next(s, e, false); got != want {
				t.Errorf("%s in %s: want %s, got %s", e, s, want, got)
			}
		}
	}
}
