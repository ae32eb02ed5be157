package added_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/added"
	"berth/internal/condition"
	"berth/ips"
)

func checks(ports ...int) []ips.Check {
	var all []ips.Check
	for _, p := range ports {
		all = append(all, ips.Check{Type: "TCP", Host: "127.0.0.1", Port: p})
	}
	return all
}

// LinK bound such an address for five to eight seconds.
func TestAnAddressThatNeverWasHealthyNeverIsBound(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		a.services.set("127.0.0.1:81", false)
		if _, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.1", Checks: checks(80, 81)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, _ := a.Get("10.0.0.1"); got.Status != ips.Booting || !strings.Contains(got.Reason, "127.0.0.1:8") {
			t.Errorf("want it not to be decided yet, got %+v", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		got, _ := a.Get("10.0.0.1")
		if got.Status != ips.Failing || !strings.Contains(got.Reason, "connection refused") || got.LastEvent == nil || got.LastEvent.Event != ips.CheckFail {
			t.Errorf("want FAILING with the reason, got %+v", got)
		}
		if e.moves != 0 {
			t.Errorf("want the address never bound, got %d times", e.moves)
		}
		a.services.set("127.0.0.1:81", true)
		time.Sleep(5 * time.Second)
		if got := a.state(t, "10.0.0.1"); got != ips.Activated || e.has("10.0.0.1") != "lb1" {
			t.Errorf("want the address after its cure, got %s", got)
		}
	})
}

func TestAFailingMemberGivesItsAddressToAnotherOne(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, b *host) {
		for _, h := range []*host{a, b} {
			if _, err := h.Add(t.Context(), ips.Spec{IP: "10.0.0.1", Checks: checks(80), HealthcheckInterval: 1}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
		}
		if got := e.has("10.0.0.1"); got != "lb1" {
			t.Fatalf("want the address on lb1, got %q", got)
		}
		a.services.set("127.0.0.1:80", false)
		time.Sleep(3500 * time.Millisecond) // fall, at the interval of the address
		synctest.Wait()
		if got := e.has("10.0.0.1"); got != "lb10" || a.state(t, "10.0.0.1") != ips.Failing || b.state(t, "10.0.0.1") != ips.Activated {
			t.Errorf("want the address on lb10, got %q", got)
		}
		if in := a.board.Snapshot()[0]; len(in.Health) != 1 || in.Health[0].Healthy || in.Health[0].Check != "IP check TCP 127.0.0.1:80 every 1s" {
			t.Errorf("want the check on the board, got %+v", in.Health)
		}
	})
}

func TestOtherChecksTakeOverWithoutGivingTheAddressUp(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		if _, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.1", Checks: checks(80)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		change := func(c []ips.Check) {
			t.Helper()
			if _, err := a.Update(t.Context(), "10.0.0.1", ips.Change{Checks: &c}); err != nil {
				t.Fatal(err)
			}
		}
		for _, next := range [][]ips.Check{checks(81), checks(81, 82), nil, checks(80)} {
			change(next)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if e.moves != 1 || a.state(t, "10.0.0.1") != ips.Activated {
				t.Errorf("%v: want the address where it was, got %d bindings", next, e.moves)
			}
		}
		// The former checks count until the new ones have decided.
		change(checks(81, 82))
		a.services.set("127.0.0.1:80", false)
		synctest.Wait()
		if got := a.state(t, "10.0.0.1"); got != ips.Activated {
			t.Errorf("want the address, got %s", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := a.state(t, "10.0.0.1"); got != ips.Activated || e.moves != 1 {
			t.Errorf("want the new checks to count, got %s", got)
		}
		a.services.set("127.0.0.1:83", false)
		change(checks(83))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := a.state(t, "10.0.0.1"); got != ips.Failing || e.has("10.0.0.1") != "" {
			t.Errorf("want the new check to have failed, got %s", got)
		}
		// A check that no address needs does not run any more.
		a.services.mu.Lock()
		before := a.services.runs["127.0.0.1:82"]
		a.services.mu.Unlock()
		time.Sleep(10 * time.Second)
		a.services.mu.Lock()
		defer a.services.mu.Unlock()
		if a.services.runs["127.0.0.1:82"] != before {
			t.Error("want no run of a check that was replaced")
		}
	})
}

func TestConditionsOfTheHostHoldForEveryAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		disk := &condition.Value{}
		disk.Set(false, "disk: full")
		h := e.start("lb1", func(o *added.Options, _ *host) { o.Able = []condition.Condition{disk} })
		defer h.stop(errStop)
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		if got, _ := h.Get("10.0.0.1"); got.Status != ips.Failing || got.Reason != "disk: full" || e.moves != 0 {
			t.Errorf("want FAILING with the reason, got %+v", got)
		}
		disk.Set(true, "")
		synctest.Wait()
		if got := h.state(t, "10.0.0.1"); got != ips.Activated {
			t.Errorf("want the address, got %s", got)
		}
		h.member.Set(false, "eth0 is down")
		synctest.Wait()
		if got, _ := h.Get("10.0.0.1"); got.Status != ips.Failing || got.Reason != "eth0 is down" || e.has("10.0.0.1") != "" {
			t.Errorf("want FAILING with the reason, got %+v", got)
		}
	})
}

// The process before this one had the address a moment ago.
func TestWhatWasHealthyAMomentAgoKeepsItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		e.put("lb1", "10.0.0.1", `{"ip":"10.0.0.1/32","checks":[{"type":"TCP","host":"127.0.0.1","port":80}]}`)
		e.change(func() { e.queue["10.0.0.1"] = []string{"lb1", "lb10"} })
		h := e.start("lb1", func(o *added.Options, h *host) { h.services.set("127.0.0.1:80", false) })
		synctest.Wait()
		h.stop(errStop) // without the word of the former process nothing is known
		if e.queue["10.0.0.1"][0] == "lb1" {
			t.Error("want the address given up by a process that knows nothing of its health")
		}
		e.change(func() { e.queue["10.0.0.1"] = []string{"lb1", "lb10"} })
		synctest.Wait()
		h = e.presumed("lb1", []string{"IP check TCP 127.0.0.1:80"})
		defer h.stop(errStop)
		synctest.Wait()
		if got := h.state(t, "10.0.0.1"); got != ips.Activated {
			t.Errorf("want the address kept, got %s", got)
		}
		if _, err := h.Add(t.Context(), ips.Spec{IP: "10.0.0.2", Checks: checks(80)}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestALeavingProcessLeavesTheAddressToItsSuccessor(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		e.put("lb10", "10.0.0.1", "")
		synctest.Wait()
		a.stop(errLeaving)
		if q := e.queue["10.0.0.1"]; len(q) != 2 || q[0] != "lb1" {
			t.Errorf("want the key left, got %v", q)
		}
		if err := errors.Unwrap(errLeaving); err == nil {
			t.Fatal("the cause must be ErrLeave")
		}
	})
}
