package pool

import (
	"net/netip"
	"testing"

	"berth/election"
	"berth/internal/owner"
	"berth/ips"
	"berth/vrrp"
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

// An address that is assigned to this member again fails only when its campaign says so
// after that: until then the campaign says why it had no wish.
func TestAnAddressThatIsAssignedAgainDoesNotFailMeanwhile(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	p := &Pool{Options: Options{Name: "lb1"}, managed: &owner.Managed{}, views: views{began: true},
		seen: situation{known: true, list: []vrrp.FloatingIP{single(a)}}}
	c := &campaign{ip: single(a), wish: &wish{acknowledged: func() bool { return true }}, end: func(error) {}, others: map[string]bool{}}
	p.campaigns = map[netip.Addr]*campaign{a: c}
	assign := func(member string) {
		p.seen.assigned = map[netip.Addr]string{a: member}
		p.steer(t.Context())
	}
	assign("lb2")
	_, why := c.wish.State()
	c.status = election.Status{State: vrrp.Fault, Reason: why}
	assign("") // which the campaign has not seen
	assign("lb1")
	if got := p.view(c.ip, true, ""); got.state != ips.Standby {
		t.Errorf("before the campaign has seen its wish: want %s, got %s (%s)", ips.Standby, got.state, got.reason)
	}
	c.status.Reason = "bind: permission denied"
	if got := p.view(c.ip, true, ""); got.state != ips.Failing || got.reason != c.status.Reason {
		t.Errorf("want %s and the reason of the campaign, got %s (%s)", ips.Failing, got.state, got.reason)
	}
}
