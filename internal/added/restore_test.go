package added_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"berth/election"
	"berth/internal/added"
	"berth/ips"
)

var errLeaving = fmt.Errorf("upgrading: %w", election.ErrLeave)

// presumed starts a host after a process that found some health checks good.
func (e *etcd) presumed(name string, names []string) *host {
	return e.start(name, func(o *added.Options, h *host) { h.presume = names })
}

func TestAfterABreakOfTheHistoryTheListIsWrittenAgain(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, b *host) {
		for _, ip := range []string{"10.0.0.1", "10.0.0.2", "2001:db8::1"} {
			if _, err := a.Add(t.Context(), ips.Spec{IP: ip, KeepaliveInterval: 1}); err != nil {
				t.Fatal(err)
			}
		}
		e.put("lb10", "10.0.0.1", "")
		synctest.Wait()
		want := e.list("lb1")
		moves := e.moves

		// A wiped etcd.
		e.history(nil)
		synctest.Wait()
		if got := e.list("lb1"); got != want {
			t.Errorf("want the list again:\n%s\ngot\n%s", want, got)
		}
		if got := e.list("lb10"); got != `10.0.0.1={"ip":"10.0.0.1/32"}` {
			t.Errorf("want the other member's list again, got %s", got)
		}
		if lines := a.lines("ips-lost"); len(lines) != 2 {
			t.Errorf("want a line for the loss and one for its end, got %q", lines)
		}

		// A restored one: an address that was removed since the backup, one that was changed,
		// one that was added.
		backup := map[string]election.AddedValue{
			election.AddedKey(prefix, "lb1", "10.0.0.1"): {Value: []byte(`{"ip":"10.0.0.1/24"}`), Revision: 1},
			election.AddedKey(prefix, "lb1", "10.0.0.3"): {Revision: 1},
			election.AddedKey(prefix, "lb1", "web"):      {Revision: 1},
		}
		e.history(backup)
		synctest.Wait()
		if got := e.list("lb1"); got != want {
			t.Errorf("want the list again:\n%s\ngot\n%s", want, got)
		}
		if e.moves != moves {
			t.Errorf("want nothing moved, got %d bindings after %d", e.moves, moves)
		}
		// Then all goes on.
		if err := a.Remove(t.Context(), "10.0.0.2"); err != nil {
			t.Error(err)
		}
		e.put("lb1", "10.0.0.3", "")
		synctest.Wait()
		if got := a.List(); len(got) != 3 || got[1].IP != "10.0.0.3/32" {
			t.Errorf("want the list to follow etcd, got %+v", got)
		}
	})
}

func TestAListThatAPersonEmptiesIsNotWrittenAgain(t *testing.T) {
	world(t, func(t *testing.T, e *etcd, a, _ *host) {
		e.put("lb1", "10.0.0.1", "")
		synctest.Wait()
		e.del("lb1", "10.0.0.1")
		synctest.Wait()
		if len(a.List()) != 0 || e.list("lb1") != "" || e.swaps != 0 {
			t.Errorf("want an empty list, got %+v", a.List())
		}
	})
}

func TestTheBreakCountsOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := record(t)
		e := newEtcd(t)
		with := func(o *added.Options, _ *host) { o.Record = file }
		h := e.start("lb1", with)
		if _, err := h.Add(t.Context(), ips.Spec{IP: "10.0.0.1"}); err != nil {
			t.Fatal(err)
		}
		e.put("lb1", "10.0.0.2", "")
		synctest.Wait()
		h.stop(errStop)
		want := `10.0.0.1={"ip":"10.0.0.1/32","added":"2000-01-01T00:00:00Z"}` + "\n" + `10.0.0.2={"ip":"10.0.0.2/32"}`

		// Etcd is wiped between two processes; the first that sees it cannot write.
		e.history(nil)
		e.refuses = errors.New("etcdserver: mvcc: database space exceeded")
		h = e.start("lb1", with)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := h.List(); len(got) != 2 || got[0].Status != ips.Activated {
			t.Errorf("want the list of the process before, got %+v", got)
		}
		if lines := h.lines("ips-not-rewritten"); len(lines) != 1 {
			t.Errorf("want one line about the refusal, got %q", lines)
		}
		h.stop(errStop)
		e.mu.Lock()
		e.refuses, e.era = nil, 0 // for the next process there is no break any more
		e.mu.Unlock()
		h = e.start("lb1", with)
		synctest.Wait()
		if got := e.list("lb1"); got != want {
			t.Errorf("want the list again:\n%s\ngot\n%s", want, got)
		}
		h.stop(errStop)

		// Without a break etcd's list counts, whatever the record says.
		e.del("lb1", "10.0.0.1")
		h = e.start("lb1", with)
		synctest.Wait()
		if got := h.List(); len(got) != 1 || got[0].IP != "10.0.0.2/32" {
			t.Errorf("want etcd's list, got %+v", got)
		}
		h.stop(errStop)

		// A record that is gone, or cannot be read, is no reason to delete what etcd has.
		for _, text := range []string{"", "{"} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			e.history(map[string]election.AddedValue{election.AddedKey(prefix, "lb1", "10.0.0.3"): {Revision: 1}})
			h = e.start("lb1", with)
			synctest.Wait()
			if got := e.list("lb1"); got != "10.0.0.3=" || len(h.lines("ips-unreadable")) != 1 {
				t.Errorf("want etcd's list, got %s and %q", got, h.lines("ips-unreadable"))
			}
			h.stop(errStop)
		}
	})
}

func TestWithoutEtcdTheLastListIsClaimedAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := record(t)
		e := newEtcd(t)
		h := e.start("lb1", func(o *added.Options, _ *host) { o.Record = file })
		if _, err := h.Add(t.Context(), ips.Spec{IP: "10.0.0.1", Checks: checks(80)}); err != nil {
			t.Fatal(err)
		}
		h.stop(errStop)
		for _, claims := range []bool{true, false} {
			h = e.start("lb1", func(o *added.Options, h *host) { o.Record, o.Alone, h.blind = file, claims, true })
			synctest.Wait()
			if got := e.has("10.0.0.1"); got != "" {
				t.Errorf("want the address unbound until it is healthy, got %q", got)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			got, _ := h.Get("10.0.0.1")
			if claims && (got.Status != ips.Activated || got.LastEvent.Event != ips.Fault || e.has("10.0.0.1") != "lb1") {
				t.Errorf("want the address claimed by a fault, got %+v", got)
			}
			if !claims && (got.Status == ips.Activated || e.has("10.0.0.1") != "") {
				t.Errorf("want no claim, got %+v", got)
			}
			h.stop(errStop)
		}
	})
}
