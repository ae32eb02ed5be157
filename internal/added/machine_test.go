package added_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/added"
	"berth/internal/owner"
	"berth/ips"
	"berth/vrrp"
)

// script is a campaign that says what a test has it say.
type script struct {
	*member
	campaign election.Campaign
	status   election.Status
	token    int64
}

func (s *script) Campaign(ctx context.Context, c election.Campaign, _ func(context.Context, int64, owner.Grant) error) error {
	s.campaign = c
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s *script) say(st election.Status) {
	st.Instance, s.status = s.campaign.Instance, st
	s.campaign.Changed(st)
	synctest.Wait()
}

// machine is the set with one address, whose events a test causes.
type machine struct {
	t      *testing.T
	host   *host
	script *script
	claims bool
	up     bool
}

func newMachine(t *testing.T, claims bool) *machine {
	e := newEtcd(t)
	e.put("lb1", "10.0.0.1", `{"ip":"10.0.0.1/32","checks":[{"type":"TCP","host":"127.0.0.1","port":80}],"healthcheck_interval":1}`)
	m := &machine{t: t, claims: claims}
	m.host = e.start("lb1", func(o *added.Options, h *host) {
		m.script = &script{member: h.member}
		o.Decider, o.Alone = m.script, claims
	})
	synctest.Wait()
	return m
}

// cause has an event happen, as far as it can in the state.
func (m *machine) cause(e ips.Event) {
	switch e {
	case ips.CheckFail, ips.CheckSuccess:
		m.up = e == ips.CheckSuccess
		m.host.services.set("127.0.0.1:80", m.up)
		time.Sleep(5 * time.Second)
		synctest.Wait()
	case ips.Elected:
		m.script.token++
		m.script.say(election.Status{State: vrrp.Master, Owner: "lb1", Token: m.script.token, Reason: "elected"})
	case ips.Demoted:
		m.script.say(election.Status{State: vrrp.Backup, Owner: "lb10", Reason: "another member is the owner"})
	case ips.Fault:
		if m.claims {
			m.script.say(election.Status{State: vrrp.Master, Owner: "lb1", Reason: "acting without etcd"})
		} else {
			m.script.say(election.Status{State: vrrp.Fault, Reason: election.ErrNoAnswer.Error()})
		}
	}
}

// next is the state that the table has after an event. A member that is healthy again and
// owns the address already is elected, or at fault, once more.
func (m *machine) next(s ips.State, e ips.Event) ips.State {
	next := ips.Next(s, e, m.claims)
	if e == ips.CheckSuccess && s == ips.Failing && m.script.status.State == vrrp.Master {
		next = ips.Activated
	}
	return next
}

func (m *machine) address() ips.Address {
	a, err := m.host.Get("10.0.0.1")
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

// reach brings the address into a state.
func (m *machine) reach(s ips.State) {
	for _, e := range map[ips.State][]ips.Event{
		ips.Activated: {ips.CheckSuccess, ips.Elected},
		ips.Standby:   {ips.CheckSuccess, ips.Demoted},
		ips.Failing:   {ips.CheckFail},
	}[s] {
		m.cause(e)
	}
	if got := m.address().Status; got != s {
		m.t.Fatalf("want %s, got %s", s, got)
	}
}

// The set goes through every pair of the table, with LinK's states where members claim.
func TestTheSetFollowsTheTable(t *testing.T) {
	for _, claims := range []bool{true, false} {
		for _, s := range ips.States {
			for _, e := range ips.Events {
				name := string(s) + " " + string(e)
				if !claims {
					name += " without claims"
				}
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						m := newMachine(t, claims)
						defer m.host.stop(errStop)
						m.reach(s)
						before := m.address()
						want := m.next(s, e)
						m.cause(e)
						got := m.address()
						if got.Status != want {
							t.Errorf("want %s, got %s (%s)", want, got.Status, got.Reason)
						}
						if want != s && (got.LastEvent == nil || got.LastEvent.Event != e || !got.Since.After(before.Since) && got.Since != got.LastEvent.At) {
							t.Errorf("want the event %s and its time, got %+v since %v", e, got.LastEvent, got.Since)
						}
						if want == s && !got.Since.Equal(before.Since) {
							t.Errorf("want the state to last since %v, got %v", before.Since, got.Since)
						}
					})
				})
			}
		}
	}
}

func TestTheSetFollowsTheTableThroughAnySequence(t *testing.T) {
	for _, claims := range []bool{true, false} {
		for seed := range uint64(8) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t, claims)
				defer m.host.stop(errStop)
				random, state, sequence := rand.New(rand.NewPCG(seed, 0)), ips.Booting, []string{}
				for range 40 {
					e := ips.Events[random.IntN(len(ips.Events))]
					sequence = append(sequence, string(e))
					if sames := e == ips.CheckSuccess && m.up && state != ips.Failing; !sames {
						state = m.next(state, e)
					}
					m.cause(e)
					if got := m.address().Status; got != state {
						t.Fatalf("seed %d, claims %v: want %s after %s, got %s", seed, claims, state, strings.Join(sequence, " "), got)
					}
				}
			})
		}
	}
}

// An owner under claim whose lease ends has lost the address: LinK's machine has no word
// for that but demoted. One that etcd does not answer yet has lost nothing.
func TestALostLeaseUnderClaimDemotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, true)
		defer m.host.stop(errStop)
		m.reach(ips.Standby)
		m.script.say(election.Status{State: vrrp.Fault, Reason: election.ErrNoAnswer.Error()})
		if got := m.address(); got.Status != ips.Standby || got.LastEvent.Event != ips.Demoted {
			t.Errorf("want no event, got %+v", got.LastEvent)
		}
		m.cause(ips.Fault)
		if got := m.address(); got.Status != ips.Activated || got.LastEvent.Event != ips.Fault {
			t.Errorf("want the fault to take the address, got %+v", got)
		}
		m.script.say(election.Status{State: vrrp.Fault, Reason: election.ErrLeaseLost.Error()})
		if got := m.address(); got.Status != ips.Standby || got.LastEvent.Event != ips.Demoted {
			t.Errorf("want demoted, got %+v", got)
		}
	})
}

// An owner under claim that etcd serves no more goes on: LinK's table has a fault for that,
// from ACTIVATED to ACTIVATED. An owner that does not claim goes on without an event: there a
// fault would be the end of it.
func TestAnOwnerThatGoesOnWithoutEtcdIsAtFault(t *testing.T) {
	for _, claims := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t, claims)
			defer m.host.stop(errStop)
			m.reach(ips.Activated)
			since, want := m.address().Since, []string{"elected"}
			owning := m.script.status
			retained := owning
			retained.Retained, retained.Reason = true, "going on"
			m.script.say(retained)
			if got := m.address(); claims && (got.LastEvent.Event != ips.Fault || got.LastEvent.Reason != "going on") {
				t.Errorf("want the fault with its reason, got %+v", got.LastEvent)
			}
			m.script.say(owning)
			got := m.address()
			if got.Status != ips.Activated || !got.Since.Equal(since) || got.LastEvent.Event != ips.Elected {
				t.Errorf("claims %t: want it ACTIVATED since %v and elected, got %+v", claims, since, got)
			}
			if claims {
				want = []string{"elected", "fault", "elected"}
			}
			var events []string
			for _, line := range m.host.lines("ip-event") {
				if e := strings.TrimPrefix(strings.Fields(line)[0], "event="); e != string(ips.CheckSuccess) {
					events = append(events, e)
				}
			}
			if !slices.Equal(events, want) {
				t.Errorf("claims %t: want the events %v, got %v", claims, want, events)
			}
		})
	}
}

// A condition keeps a member out of the election; that is no fault of the coordination.
func TestAConditionThatDoesNotHoldIsNoFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, false)
		defer m.host.stop(errStop)
		m.reach(ips.Activated)
		m.host.services.set("127.0.0.1:80", false)
		time.Sleep(5 * time.Second)
		_, why := m.script.campaign.Able.State()
		m.script.say(election.Status{State: vrrp.Fault, Reason: why})
		m.cause(ips.CheckSuccess)
		for _, line := range m.host.lines("ip-event") {
			if strings.Contains(line, "event=fault") {
				t.Errorf("want no fault, got %s", line)
			}
		}
		if lines := m.host.lines("ip-event"); lines[len(lines)-1] != "event=health_check_success address=10.0.0.1 former=FAILING state=STANDBY" {
			t.Errorf("want the events with their states, got %q", lines)
		}
	})
}

func TestEventsAndStatesAreCounted(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		a.member.Set(false, "eth0 is down")
		synctest.Wait()
		var text strings.Builder
		if err := a.registry.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`berth_ip_events_total{event="elected"} 1`, `berth_ip_events_total{event="health_check_fail"} 1`, `berth_ip_events_total{event="fault"} 0`,
			`berth_ip_addresses{status="FAILING"} 1`, `berth_ip_addresses{status="ACTIVATED"} 0`,
		} {
			if !strings.Contains(text.String(), want+"\n") {
				t.Errorf("want %s in\n%s", want, text.String())
			}
		}
	})
}
