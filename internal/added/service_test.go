package added_test

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/added"
	"berth/ips"
)

func TestAddIsSeenByTheNextList(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		checks := []ips.Check{{Type: "TCP", Host: "127.0.0.1", Port: 80}}
		got, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.1", Checks: checks, KeepaliveInterval: 3, HealthcheckInterval: 4})
		if err != nil || got.ID != "vip-10.0.0.1" || got.IP != "10.0.0.1/32" || !reflect.DeepEqual(got.Checks, checks) || got.KeepaliveInterval != 3 || got.HealthcheckInterval != 4 {
			t.Errorf("want the address, got %+v, %v", got, err)
		}
		if list := a.List(); len(list) != 1 || list[0].ID != got.ID {
			t.Errorf("want the address in the list, got %+v", list)
		}
		want := `10.0.0.1={"ip":"10.0.0.1/32","checks":[{"type":"TCP","host":"127.0.0.1","port":80}],"healthcheck_interval":4,"keepalive_interval":3,"added":"2000-01-01T00:00:00Z"}`
		if in := e.list("lb1"); in != want {
			t.Errorf("want the key\n%s\ngot\n%s", want, in)
		}
		for _, id := range []string{"vip-10.0.0.1", "10.0.0.1"} {
			if _, err := a.Get(id); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		if got, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.1/24"}); !errors.Is(err, ips.ErrAssigned) {
			t.Errorf("want ErrAssigned, got %+v, %v", got, err)
		}
	})
}

func TestTwoAddsAtOnceGiveOneAddress(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, b *host) {
		var adding sync.WaitGroup
		var mu sync.Mutex
		added, assigned := 0, 0
		for range 8 {
			adding.Go(func() {
				_, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.1"})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					added++
				case errors.Is(err, ips.ErrAssigned):
					assigned++
				}
			})
		}
		adding.Wait()
		if added != 1 || assigned != 7 {
			t.Errorf("want one to add and seven to be told, got %d and %d", added, assigned)
		}
		synctest.Wait()
		if _, err := b.Add(t.Context(), ips.Spec{IP: "10.0.0.1"}); err != nil { // two agents, as LinK has it
			t.Error(err)
		}
		synctest.Wait()
		if a.List()[0].ID != b.List()[0].ID || e.has("10.0.0.1") != "lb1" {
			t.Errorf("want one address, got %+v and %+v", a.List(), b.List())
		}
	})
}

func TestRequestsAreRefusedWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		h := e.start("lb1", func(o *added.Options, _ *host) {
			o.Taken = map[netip.Addr]string{netip.MustParseAddr("10.0.0.1"): "election.instances: web", netip.MustParseAddr("10.0.0.2"): "managed-addresses"}
		})
		defer h.stop(errStop)
		synctest.Wait()
		for ip, place := range map[string]string{"10.0.0.1": "election.instances: web", "10.0.0.2/24": "managed-addresses"} {
			_, err := h.Add(t.Context(), ips.Spec{IP: ip})
			if conflict, is := errors.AsType[*ips.ConflictError](err); !is || !strings.Contains(conflict.Text, place) {
				t.Errorf("%s: want a conflict with %s, got %v", ip, place, err)
			}
		}
		if _, err := h.Add(t.Context(), ips.Spec{IP: "x"}); err == nil || !strings.Contains(err.Error(), "invalid IP") {
			t.Errorf("want an InvalidError, got %v", err)
		}
		change := ips.Change{Checks: &[]ips.Check{{Type: "HTTP"}}}
		if _, err := h.Update(t.Context(), "10.0.0.3", change); err == nil || !strings.Contains(err.Error(), "invalid health check type") {
			t.Errorf("want an InvalidError, got %v", err)
		}
		for name, err := range map[string]error{
			"remove":   h.Remove(t.Context(), "vip-10.0.0.3"),
			"lock":     h.Lock(t.Context(), "vip-10.0.0.3"),
			"failover": h.Failover(t.Context(), "x"),
		} {
			if !errors.Is(err, ips.ErrUnknown) {
				t.Errorf("%s: want ErrUnknown, got %v", name, err)
			}
		}
		if _, err := h.Update(t.Context(), "10.0.0.3", ips.Change{}); !errors.Is(err, ips.ErrUnknown) {
			t.Errorf("update: want ErrUnknown, got %v", err)
		}
		if _, err := h.Get("10.0.0.3"); !errors.Is(err, ips.ErrUnknown) {
			t.Errorf("get: want ErrUnknown, got %v", err)
		}
		if e.swaps != 0 {
			t.Errorf("want etcd untouched, got %d changes", e.swaps)
		}
	})
}

func TestAnEtcdThatDoesNotAnswerIsSaidSo(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		e.mu.Lock()
		e.silent = true
		e.mu.Unlock()
		ask := map[string]func() error{
			"add":      func() error { _, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.2"}); return err },
			"remove":   func() error { return a.Remove(t.Context(), "10.0.0.1") },
			"update":   func() error { _, err := a.Update(t.Context(), "10.0.0.1", ips.Change{}); return err },
			"failover": func() error { return a.Failover(t.Context(), "10.0.0.1") },
		}
		for name, f := range ask {
			if err := f(); !errors.Is(err, election.ErrNoAnswer) || !strings.Contains(err.Error(), "etcd does not answer") {
				t.Errorf("%s: want ErrNoAnswer, got %v", name, err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errStop)
		if _, err := a.Add(ctx, ips.Spec{IP: "10.0.0.2"}); !errors.Is(err, errStop) {
			t.Errorf("want the cause of the caller, got %v", err)
		}
		if got := a.List(); len(got) != 1 || got[0].Status != ips.Activated {
			t.Errorf("want nothing changed, got %+v", got)
		}
	})
}

func TestRemoveReturnsAfterTheAddressIsGivenUp(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, b *host) {
		for _, h := range []*host{a, b} {
			if _, err := h.Add(t.Context(), ips.Spec{IP: "10.0.0.1"}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := a.Remove(t.Context(), "vip-10.0.0.1"); err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		bound, queue := e.bound[netip.MustParseAddr("10.0.0.1")], e.queue["10.0.0.1"]
		e.mu.Unlock()
		if bound == "lb1" || contains(queue, "lb1") {
			t.Errorf("want the address given up when Remove returns, got it on %q, and the queue %v", bound, queue)
		}
		if got := e.list("lb1"); got != "" || len(a.List()) != 0 {
			t.Errorf("want no key, got %s", got)
		}
		if err := a.Remove(t.Context(), "vip-10.0.0.1"); !errors.Is(err, ips.ErrUnknown) {
			t.Errorf("want ErrUnknown the second time, got %v", err)
		}
		// Add and remove in turn end as the last of them says.
		for range 5 {
			if _, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.1"}); err != nil {
				t.Fatal(err)
			}
			if err := a.Remove(t.Context(), "10.0.0.1"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if e.has("10.0.0.1") != "lb10" || len(a.board.Snapshot()) != 0 {
			t.Errorf("want the address on the other member alone, got %q", e.has("10.0.0.1"))
		}
	})
}

// lateEtcd answers a deletion as an etcd does whose first answer was lost: the key is absent,
// and no revision is known. The watch tells of it when the test lets it.
type lateEtcd struct{ *etcd }

func (e lateEtcd) Swap(ctx context.Context, key string, was int64, value []byte) (int64, bool, error) {
	if value == nil {
		return 0, true, nil
	}
	return e.etcd.Swap(ctx, key, was, value)
}

func TestRemoveWaitsForTheWatchAlsoWhereTheRevisionOfTheDeletionIsNotKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEtcd(t)
		a := e.start("lb1", func(o *added.Options, _ *host) { o.Etcd = lateEtcd{e} })
		defer a.stop(errStop)
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		removed := make(chan error, 1)
		go func() { removed <- a.Remove(t.Context(), "10.0.0.1") }()
		synctest.Wait()
		if len(removed) > 0 || e.has("10.0.0.1") != "lb1" {
			t.Error("want Remove to wait while the address is bound")
		}
		e.del("lb1", "10.0.0.1")
		if err := <-removed; err != nil || e.has("10.0.0.1") != "" {
			t.Errorf("want the address unbound, got it on %q, %v", e.has("10.0.0.1"), err)
		}
	})
}

// A key that a person changes between the reading and the change of it is not overwritten
// unseen.
func TestAChangeGoesByWhatIsThere(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		if _, err := a.Add(t.Context(), ips.Spec{IP: "10.0.0.1", KeepaliveInterval: 1}); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock() // before the watch tells of it
		e.rev++
		e.keys[election.AddedKey(prefix, "lb1", "10.0.0.1")] = election.AddedValue{Value: []byte(`{"ip":"10.0.0.1/32","keepalive_interval":9}`), Revision: e.rev}
		e.mu.Unlock()
		time.AfterFunc(time.Second, func() { e.change(func() {}) })
		interval := 5
		got, err := a.Update(t.Context(), "10.0.0.1", ips.Change{HealthcheckInterval: &interval})
		if err != nil || got.KeepaliveInterval != 9 || got.HealthcheckInterval != 5 {
			t.Errorf("want both changes, got %+v, %v", got, err)
		}
	})
}

func TestLockTakesAFreeAddressNowAndNothingFromAnOwner(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, b *host) {
		e.mu.Lock()
		a.unbindable = map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true}
		e.mu.Unlock()
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait() // it has failed, and waits for two seconds
		if got, _ := a.Get("10.0.0.1"); got.Status == ips.Activated || !strings.Contains(got.Reason, "permission denied") {
			t.Errorf("want the failure, got %+v", got)
		}
		e.mu.Lock()
		a.unbindable = nil
		e.mu.Unlock()
		began := time.Now()
		if err := a.Lock(t.Context(), "10.0.0.1"); err != nil || a.state(t, "10.0.0.1") != ips.Activated || time.Since(began) > time.Second {
			t.Errorf("want the address at once, got %v after %v, %s", err, time.Since(began), a.state(t, "10.0.0.1"))
		}
		e.put("lb10", "10.0.0.1", "")
		synctest.Wait()
		if err := b.Lock(t.Context(), "10.0.0.1"); err != nil || e.has("10.0.0.1") != "lb1" {
			t.Errorf("want the owner to stay, got %v and %q", err, e.has("10.0.0.1"))
		}
	})
}

func TestFailoverMovesByAgreement(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, b *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		err := a.Failover(t.Context(), "10.0.0.1")
		if conflict, is := errors.AsType[*ips.ConflictError](err); !is || !strings.Contains(conflict.Text, "no other member") {
			t.Errorf("want a conflict, got %v", err)
		}
		e.put("lb10", "10.0.0.1", "")
		synctest.Wait()
		for _, want := range []struct {
			state ips.State
			on    string
		}{{ips.Standby, "lb10"}, {ips.Activated, "lb1"}} {
			if err := a.Failover(t.Context(), "vip-10.0.0.1"); err != nil || a.state(t, "10.0.0.1") != want.state {
				t.Errorf("want %s, got %v and %s", want.state, err, a.state(t, "10.0.0.1"))
			}
			if synctest.Wait(); e.has("10.0.0.1") != want.on {
				t.Errorf("want the address on %s, got %q", want.on, e.has("10.0.0.1"))
			}
		}
		b.member.Set(false, "eth0 is down")
		synctest.Wait()
		err = b.Failover(t.Context(), "10.0.0.1")
		if conflict, is := errors.AsType[*ips.ConflictError](err); !is || !strings.Contains(conflict.Text, "eth0 is down") {
			t.Errorf("want a conflict with the reason, got %v", err)
		}
	})
}

// A member that is elected, as asked, and then cannot bind the address says so. The owner
// of before comes back.
func TestAFailoverToAMemberThatCannotBindTheAddressIsToldWhy(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, _, b *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		e.put("lb10", "10.0.0.1", "")
		synctest.Wait()
		e.mu.Lock()
		b.unbindable = map[netip.Addr]bool{netip.MustParseAddr("10.0.0.1"): true}
		e.mu.Unlock()
		err := b.Failover(t.Context(), "10.0.0.1")
		if conflict, is := errors.AsType[*ips.ConflictError](err); !is || !strings.Contains(conflict.Text, "permission denied") {
			t.Errorf("want a conflict with the reason, got %v", err)
		}
		synctest.Wait()
		if got := e.has("10.0.0.1"); got != "lb1" {
			t.Errorf("want the address on the former owner, got %q", got)
		}
	})
}
