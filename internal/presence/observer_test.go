package presence_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/presence"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// machine is a host whose addresses a test changes.
type machine struct {
	mu       sync.Mutex
	bound    presence.Bound
	fail     error
	event    func()
	readings int
}

func (m *machine) Addresses() (presence.Bound, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readings++
	return m.bound, m.fail
}

func (m *machine) Known() bool { return true }

func (m *machine) Subscribe(ctx context.Context, changed func()) error {
	m.mu.Lock()
	m.event = changed
	m.mu.Unlock()
	<-ctx.Done()
	return context.Cause(ctx)
}

// set changes the addresses; silently means that the event gets lost.
func (m *machine) set(silently bool, addrs ...string) {
	m.mu.Lock()
	m.bound = presence.Bound{}
	for _, a := range addrs {
		m.bound[netip.MustParseAddr(a)] = []string{"eth0"}
	}
	event := m.event
	m.mu.Unlock()
	if !silently && event != nil {
		event()
	}
}

var a, b = floating("192.0.2.1/32"), floating("2001:db8::1/128")

func floating(text string) vrrp.FloatingIP {
	return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(text)}
}

// bubble plays with a watch of a and b.
func bubble(t *testing.T, play func(m *machine, w *presence.Watch)) (*observer.ObservedLogs, []string) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	var corrected []string
	synctest.Test(t, func(t *testing.T) {
		m := &machine{}
		w := presence.NewObserver(presence.Options{Host: m, Journal: journal.New(zap.New(core)),
			Corrected: func(_, reason string) { corrected = append(corrected, reason) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		watch := w.Watch("VI_1")
		play(m, watch)
		watch.Close()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want the cause", err)
		}
	})
	return logs, corrected
}

func present(t *testing.T, w *presence.Watch, want ...vrrp.FloatingIP) {
	t.Helper()
	synctest.Wait()
	got := w.Present([]vrrp.FloatingIP{a, b})
	if diff := cmp.Diff(want, got, cmp.Comparer(func(x, y netip.Prefix) bool { return x == y })); diff != "" {
		t.Errorf("present (-want +got):\n%s", diff)
	}
}

func TestAddressThatGoesWithoutAnEventIsSuspendedUntilItReturns(t *testing.T) {
	logs, corrected := bubble(t, func(m *machine, w *presence.Watch) {
		m.set(false, "192.0.2.1", "2001:db8::1")
		present(t, w, a, b)
		time.Sleep(time.Second)
		m.set(false, "192.0.2.1")
		time.Sleep(900 * time.Millisecond)
		present(t, w, a, b)
		time.Sleep(200 * time.Millisecond)
		present(t, w, a)
		<-w.Changed()
		m.set(false, "192.0.2.1", "2001:db8::1")
		time.Sleep(100 * time.Millisecond)
		<-w.Changed()
		present(t, w, a, b)
	})
	if n := logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 || len(corrected) != 1 {
		t.Errorf("%d warnings and %d corrections, want one of each", n, len(corrected))
	}
}

func TestAbsenceOfWhatWasNeverSeenProvesNothingAndIsSaidOnce(t *testing.T) {
	logs, _ := bubble(t, func(m *machine, w *presence.Watch) {
		m.set(false, "203.0.113.1")
		present(t, w, a, b)
		time.Sleep(time.Hour)
		present(t, w, a, b)
	})
	if n := logs.FilterMessageSnippet("events alone count").Len(); n != 1 || logs.Len() != 1 {
		t.Errorf("said %d times among %d lines, want once and nothing else", n, logs.Len())
	}
}

func TestAnEventThatGotLostIsMadeUpForWithinAMinute(t *testing.T) {
	bubble(t, func(m *machine, w *presence.Watch) {
		m.set(false, "192.0.2.1", "2001:db8::1")
		present(t, w, a, b)
		time.Sleep(time.Second)
		m.set(true)
		time.Sleep(time.Minute + 1100*time.Millisecond)
		present(t, w)
	})
}

func TestAReadingThatFailsProvesNothing(t *testing.T) {
	logs, _ := bubble(t, func(m *machine, w *presence.Watch) {
		m.set(false, "192.0.2.1", "2001:db8::1")
		present(t, w, a, b)
		time.Sleep(time.Second)
		m.mu.Lock()
		m.fail = errors.New("no netlink")
		m.mu.Unlock()
		m.set(false)
		time.Sleep(time.Hour)
		present(t, w, a, b)
	})
	if n := logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
}

func TestFloodOfEventsCausesFewReadings(t *testing.T) {
	bubble(t, func(m *machine, w *presence.Watch) {
		present(t, w, a, b)
		time.Sleep(time.Second)
		m.mu.Lock()
		before := m.readings
		m.mu.Unlock()
		for range 1000 {
			m.set(false, "192.0.2.1")
			time.Sleep(time.Millisecond)
		}
		m.mu.Lock()
		got := m.readings - before
		m.mu.Unlock()
		if got > 60 {
			t.Errorf("%d readings in a second of 1000 events, want one per 20 ms", got)
		}
	})
}

// Against the kernel itself; that addresses come and go is for the tests in the lab.
func TestSubscriptionAndListAgreeWithTheKernel(t *testing.T) {
	bound, err := presence.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lo"}, bound[netip.MustParseAddr("127.0.0.1")]); diff != "" {
		t.Errorf("127.0.0.1 (-want +got):\n%s", diff)
	}
	changed := make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		network := presence.NewNetwork(func() (int, bool) { return 0, false })
		defer network.Close()
		done <- network.Subscribe(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	<-changed // subscribed
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Subscribe returned %v, want the cause", err)
	}
}

func TestSuspensionOutlivesAReload(t *testing.T) {
	for _, tc := range []struct {
		name    string
		between func(w *presence.Observer)
		want    []vrrp.FloatingIP
	}{
		{"still MASTER", func(*presence.Observer) {}, []vrrp.FloatingIP{a}},
		{"BACKUP meanwhile", func(w *presence.Observer) { w.Forget("VI_1") }, []vrrp.FloatingIP{a, b}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &machine{}
				w := presence.NewObserver(presence.Options{Host: m, Corrected: func(string, string) {}})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- w.Run(ctx) }()
				synctest.Wait()
				first := w.Watch("VI_1")
				m.set(false, "192.0.2.1", "2001:db8::1")
				present(t, first, a, b)
				time.Sleep(time.Second)
				m.set(false, "192.0.2.1")
				<-first.Changed()
				first.Retain()
				first.Close()
				tc.between(w)
				second := w.Watch("VI_1")
				present(t, second, tc.want...)
				second.Close()
				cancel()
				<-done
			})
		})
	}
}

// That an instance is held without its addresses is not a fault that lasts: it is told
// once, and not again at each MASTER.
func TestAbsenceIsAnEventAndNotACondition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []journal.Event
		o := presence.NewObserver(presence.Options{Host: &machine{}, Journal: journal.New(nil, func(e journal.Event) { events = append(events, e) })})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- o.Run(ctx) }()
		for range 2 {
			w := o.Watch("VI_1")
			present(t, w, a, b)
			time.Sleep(time.Hour)
			w.Close()
			o.Forget("VI_1")
		}
		cancel()
		<-done
		if len(events) != 1 || events[0].Code != "addresses-absent" || events[0].Instance != "VI_1" || events[0].Lasts {
			t.Errorf("told %+v", events)
		}
	})
}
