package instance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

func TestDecideIsTotal(t *testing.T) {
	states := []vrrp.State{vrrp.Unknown, vrrp.Backup, vrrp.Master, vrrp.Fault, vrrp.Stop, vrrp.Deleted}
	for _, current := range states {
		for _, reported := range states {
			want := retain
			switch {
			case current == vrrp.Master && reported == vrrp.Master:
				want = verify
			case reported == vrrp.Master:
				want = start
			case current == vrrp.Master:
				want = end
			}
			got, reason := decide(current, reported)
			if got != want || reason == "" {
				t.Errorf("decide(%v, %v) = %v, %q; want %v and a reason", current, reported, got, reason, want)
			}
		}
	}
}

// recorder is a hold that records what happens to it.
type recorder struct {
	mu    sync.Mutex
	log   []string
	alive int
	most  int
	slow  time.Duration // how long the end takes
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) hold(ctx context.Context, name string, ask <-chan struct{}) error {
	r.mu.Lock()
	r.alive++
	r.most = max(r.most, r.alive)
	r.log = append(r.log, "start "+name)
	r.mu.Unlock()
	for {
		select {
		case <-ask:
			r.add("verify %s", name)
			continue
		case <-ctx.Done():
		}
		time.Sleep(r.slow)
		r.mu.Lock()
		r.alive--
		r.log = append(r.log, fmt.Sprintf("end %s: %v", name, context.Cause(ctx)))
		r.mu.Unlock()
		return context.Cause(ctx)
	}
}

func is(name string, state vrrp.State) vrrp.Event {
	return vrrp.Event{Source: "test", Instance: name, State: state, Received: time.Now()}
}

// bubble runs a table in a bubble; play gets a function that delivers a burst
// and returns when nothing moves any more.
func bubble(t *testing.T, slow time.Duration, play func(tb *Table, burst func(...vrrp.Event))) []string {
	t.Helper()
	r := &recorder{slow: slow}
	synctest.Test(t, func(t *testing.T) {
		tb := NewTable(r.hold, nil, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- tb.Run(ctx) }()
		play(tb, func(evs ...vrrp.Event) {
			tb.Deliver(evs)
			synctest.Wait()
		})
		stopped := errors.New("stopped")
		cancel(stopped)
		if err := <-done; !errors.Is(err, stopped) {
			t.Errorf("Run returned %v, want the cause", err)
		}
	})
	if r.alive != 0 {
		t.Errorf("%d holdings alive after Run returned", r.alive)
	}
	if slow > 0 && r.most > 1 {
		t.Errorf("%d holdings alive at once, want one", r.most)
	}
	return r.log
}

func TestEvents(t *testing.T) {
	for _, row := range []struct {
		name string
		play func(tb *Table, burst func(...vrrp.Event))
		want []string
	}{
		{"MASTER holds, BACKUP ends", func(_ *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Backup))
			burst(is("a", vrrp.Master))
			burst(is("a", vrrp.Backup))
		}, []string{"start a", "end a: no longer MASTER: BACKUP reported"}},
		{"FAULT, STOP and DELETED end too", func(_ *Table, burst func(...vrrp.Event)) {
			for _, s := range []vrrp.State{vrrp.Fault, vrrp.Stop, vrrp.Deleted} {
				burst(is("a", vrrp.Master))
				burst(is("a", s))
			}
		}, []string{"start a", "end a: no longer MASTER: FAULT reported", "start a", "end a: no longer MASTER: STOP reported", "start a", "end a: no longer MASTER: DELETED reported"}},
		{"a burst that ends in BACKUP holds nothing", func(_ *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Backup), is("a", vrrp.Master), is("a", vrrp.Backup))
		}, nil},
		{"a burst that ends in MASTER holds once", func(_ *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master), is("a", vrrp.Backup), is("a", vrrp.Master))
		}, []string{"start a", "end a: stopped"}},
		{"MASTER again while holding verifies and does not restart", func(_ *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master))
			burst(is("a", vrrp.Master))
		}, []string{"start a", "verify a", "end a: stopped"}},
		{"MASTER_RX_LOWER_PRI verifies", func(_ *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master))
			burst(vrrp.Event{Instance: "a", Kind: vrrp.VerifyNow})
		}, []string{"start a", "verify a", "end a: stopped"}},
		{"a priority or a verify never displaces a state", func(_ *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master), vrrp.Event{Instance: "a", Kind: vrrp.PriorityChange, Priority: 7}, vrrp.Event{Instance: "a", Kind: vrrp.VerifyNow})
		}, []string{"start a", "verify a", "end a: stopped"}},
		{"verify without a holding does nothing", func(_ *Table, burst func(...vrrp.Event)) {
			burst(vrrp.Event{Instance: "a", Kind: vrrp.VerifyNow})
		}, nil},
		{"the death of keepalived ends what it began", func(tb *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master))
			time.Sleep(time.Second)
			tb.End(errors.New("gone"), time.Now())
			synctest.Wait()
		}, []string{"start a", "end a: gone"}},
		{"a MASTER read after the death survives it", func(tb *Table, burst func(...vrrp.Event)) {
			died := time.Now()
			time.Sleep(time.Second)
			burst(is("a", vrrp.Master))
			tb.End(errors.New("gone"), died)
			synctest.Wait()
		}, []string{"start a", "end a: stopped"}},
		{"a MASTER that waited in the mailbox at the death never begins", func(tb *Table, _ func(...vrrp.Event)) {
			tb.Deliver([]vrrp.Event{is("a", vrrp.Backup)})
			synctest.Wait()
			tb.machine("a").box.put([]vrrp.Event{is("a", vrrp.Master)})
			time.Sleep(time.Second)
			tb.End(errors.New("gone"), time.Now())
			synctest.Wait()
		}, nil},
		{"after the death a new MASTER holds again", func(tb *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master))
			time.Sleep(time.Second)
			tb.End(errors.New("gone"), time.Now())
			synctest.Wait()
			burst(is("a", vrrp.Master))
		}, []string{"start a", "end a: gone", "start a", "end a: stopped"}},
		{"what is supposed holds where nothing was reported", func(tb *Table, _ func(...vrrp.Event)) {
			tb.Suppose(is("a", vrrp.Master), time.Time{})
			synctest.Wait()
			tb.Suppose(is("a", vrrp.Master), time.Time{})
			synctest.Wait()
		}, []string{"start a", "end a: stopped"}},
		{"what was reported counts more than what is supposed", func(tb *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Backup))
			tb.Suppose(is("a", vrrp.Master), time.Time{})
			synctest.Wait()
		}, nil},
		{"after a loss only what was reported later counts more", func(tb *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master), is("b", vrrp.Backup))
			time.Sleep(time.Second)
			lost := time.Now()
			time.Sleep(time.Second)
			burst(is("b", vrrp.Backup))
			tb.Suppose(is("a", vrrp.Backup), lost)
			tb.Suppose(is("b", vrrp.Master), lost)
			synctest.Wait()
		}, []string{"start a", "end a: no longer MASTER: BACKUP reported"}},
		{"after the death of keepalived a state may be supposed again", func(tb *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master))
			time.Sleep(time.Second)
			tb.End(errors.New("gone"), time.Now())
			synctest.Wait()
			tb.Suppose(is("a", vrrp.Master), time.Time{})
			synctest.Wait()
		}, []string{"start a", "end a: gone", "start a", "end a: stopped"}},
		{"a restart begins what runs anew, and nothing else", func(tb *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master), is("b", vrrp.Backup))
			tb.Restart(errors.New("reloaded"))
			synctest.Wait()
		}, []string{"start a", "end a: reloaded", "start a", "end a: stopped"}},
		{"a restart and a demotion at once end it", func(tb *Table, burst func(...vrrp.Event)) {
			burst(is("a", vrrp.Master))
			tb.machine("a").box.put([]vrrp.Event{is("a", vrrp.Backup)})
			tb.Restart(errors.New("reloaded"))
			synctest.Wait()
		}, []string{"start a", "end a: no longer MASTER: BACKUP reported"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := bubble(t, 0, row.play)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("what happened (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNextHoldingWaitsForTheEndOfTheFormer(t *testing.T) {
	got := bubble(t, 5*time.Second, func(_ *Table, burst func(...vrrp.Event)) {
		burst(is("a", vrrp.Master))
		// While the former holding takes five seconds to end, states come and
		// go; no sender is blocked, and the newest wins.
		begun := time.Now()
		for range 1000 {
			burst(is("a", vrrp.Backup))
			burst(is("a", vrrp.Master))
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("delivering was held up for %v", d)
		}
		time.Sleep(time.Minute)
	})
	want := []string{"start a", "end a: no longer MASTER: BACKUP reported", "start a", "end a: stopped"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
}

func TestInstancesDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{slow: time.Hour}
		tb := NewTable(r.hold, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tb.Run(ctx) }()
		tb.Deliver([]vrrp.Event{is("a", vrrp.Master)})
		synctest.Wait()
		tb.Deliver([]vrrp.Event{is("a", vrrp.Backup)})
		synctest.Wait()
		begun := time.Now()
		tb.Deliver([]vrrp.Event{is("b", vrrp.Master)})
		synctest.Wait()
		r.mu.Lock()
		if want := []string{"start a", "start b"}; !cmp.Equal(want, r.log) || time.Since(begun) != 0 {
			t.Errorf("got %v after %v, want %v at once", r.log, time.Since(begun), want)
		}
		r.mu.Unlock()
		cancel()
		<-done
	})
}

// A machine may be awake for another reason while a burst is delivered.
func TestBurstIsSeenAsAWholeByAMachineThatIsAwake(t *testing.T) {
	r := &recorder{}
	tb := NewTable(r.hold, nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tb.Run(ctx) }()
	var burst []vrrp.Event
	for range 50 {
		burst = append(burst, is("a", vrrp.Master), is("a", vrrp.Deleted))
	}
	for range 2000 {
		tb.Restart(errors.New("reloaded")) // wakes it
		tb.Deliver(burst)
	}
	cancel()
	<-done
	if len(r.log) > 0 {
		t.Errorf("saw a state in the middle of a burst: %v", r.log[0])
	}
}
