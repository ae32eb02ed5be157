package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/refresher"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// target answers Ensure from a script and records when it was called and how.
type target struct {
	mu     sync.Mutex
	start  time.Time
	calls  []string
	answer func(n int, claimFirst bool) (previous string, changed bool, err error)
	hang   bool
	closed bool
}

func (t *target) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}

func (t *target) Ensure(ctx context.Context, claimFirst bool) (string, bool, error) {
	t.mu.Lock()
	n := len(t.calls)
	how := "observe"
	if claimFirst {
		how = "claim"
	}
	t.calls = append(t.calls, fmt.Sprintf("%s at %v", how, time.Since(t.start)))
	t.mu.Unlock()
	if t.hang {
		<-ctx.Done()
		return "", false, ctx.Err()
	}
	return t.answer(n, claimFirst)
}

// failure is an error that tells its class as a provider's does.
type failure struct {
	class string
	wait  time.Duration
}

func (f *failure) Error() string             { return "failed: " + f.class }
func (f *failure) RefreshClass() string      { return f.class }
func (f *failure) RetryAfter() time.Duration { return f.wait }

func testPolicy() refresher.Policy {
	return refresher.Policy{Interval: time.Minute, Timeout: 10 * time.Second,
		InitialInterval: time.Second, Multiplier: 1.1, MaxInterval: 10 * time.Second}
}

// run runs a loop in a bubble for a while and returns what it reported.
func run(t *testing.T, tg *target, p refresher.Policy, verify <-chan struct{}, during func(), d time.Duration) ([]refresher.Report, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	tg.start = time.Now()
	var reports []refresher.Report
	l := &refresher.Loop{Target: tg, Policy: p, Verify: verify, Journal: journal.New(zap.New(core)),
		Report: func(r refresher.Report) { reports = append(reports, r) }}
	errEnd := errors.New("test is over")
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errEnd)
	defer cancel()
	if during != nil {
		go during()
	}
	if err := l.Run(ctx); !errors.Is(err, errEnd) {
		t.Errorf("Run returned %v, want the cause of its context", err)
	}
	return reports, logs
}

// near reports whether got is want, give or take the jitter of intervals.
func near(want, got time.Duration, jitter float64) bool {
	slack := time.Duration(float64(want) * jitter)
	return got >= want-slack && got <= want+slack
}

func at(t *testing.T, call string) time.Duration {
	t.Helper()
	var how, word, when string
	if _, err := fmt.Sscan(call, &how, &word, &when); err != nil {
		t.Fatal(err)
	}
	d, err := time.ParseDuration(when)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFirstCallIsTheClaimThenSettleChecksThenTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := &target{answer: func(_ int, claimFirst bool) (string, bool, error) { return "", claimFirst, nil }}
		run(t, tg, testPolicy(), nil, nil, 150*time.Second)
		want := []string{"claim at 0s", "observe at 2s", "observe at 5s", "observe at 15s"}
		if diff := cmp.Diff(want, tg.calls[:min(4, len(tg.calls))]); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if len(tg.calls) != 6 {
			t.Fatalf("got %d calls in 150 s, want 4 and two refreshes: %v", len(tg.calls), tg.calls)
		}
		if gap := at(t, tg.calls[4]) - 15*time.Second; !near(time.Minute, gap, 0.1) {
			t.Errorf("the first refresh came after %v, want a minute +-10 %%", gap)
		}
	})
}

func TestWaitsByClassOfFailure(t *testing.T) {
	for _, row := range []struct {
		name     string
		err      error
		min, max time.Duration
		next     string
	}{
		{"transient follows the back-off with its jitter of half", &failure{class: "transient"}, 500 * time.Millisecond, 1500 * time.Millisecond, "claim"},
		{"an error of unknown kind is transient", errors.New("odd"), 500 * time.Millisecond, 1500 * time.Millisecond, "claim"},
		{"a wrapped class is still recognised", fmt.Errorf("outer: %w", &failure{"rate-limited", 7 * time.Second}), 7 * time.Second, 7 * time.Second, "claim"},
		{"Retry-After longer than the back-off counts", &failure{"rate-limited", 7 * time.Second}, 7 * time.Second, 7 * time.Second, "claim"},
		{"Retry-After shorter than the back-off does not hurry", &failure{"rate-limited", time.Millisecond}, 500 * time.Millisecond, 1500 * time.Millisecond, "claim"},
		{"Retry-After of a day is cut", &failure{"rate-limited", 24 * time.Hour}, 10 * time.Minute, 10 * time.Minute, "claim"},
		{"refused once (400) costs a back-off and not a refresh interval", &failure{class: "invalid"}, 500 * time.Millisecond, 1500 * time.Millisecond, "claim"},
		{"the account refused once (401, 403) costs a back-off", &failure{class: "auth"}, 500 * time.Millisecond, 1500 * time.Millisecond, "claim"},
		{"not a floating IP once (404, an empty list) costs a back-off, and an observation", &failure{class: "not-found"}, 500 * time.Millisecond, 1500 * time.Millisecond, "observe"},
		{"no permit follows the back-off", &failure{class: "fenced"}, 500 * time.Millisecond, 1500 * time.Millisecond, "claim"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tg := &target{answer: func(n int, _ bool) (string, bool, error) {
					if n == 0 {
						return "", false, row.err
					}
					return "", true, nil
				}}
				run(t, tg, testPolicy(), nil, nil, 11*time.Minute)
				if len(tg.calls) < 2 {
					t.Fatalf("gave up after %v", tg.calls)
				}
				if got := at(t, tg.calls[1]); got < row.min || got > row.max {
					t.Errorf("second attempt at %v, want between %v and %v", got, row.min, row.max)
				}
				if got := tg.calls[1][:len(row.next)]; got != row.next {
					t.Errorf("second attempt was a %s, want a %s", got, row.next)
				}
			})
		})
	}
}

func TestNeverGivesUpAndNeverWaitsLongerThanMaxIntervalAndAHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := &target{answer: func(int, bool) (string, bool, error) { return "", false, &failure{class: "transient"} }}
		_, logs := run(t, tg, testPolicy(), nil, nil, 10*time.Hour)
		last := time.Duration(0)
		for _, c := range tg.calls {
			if gap := at(t, c) - last; gap > 15*time.Second {
				t.Fatalf("waited %v between attempts, want 15 s at most", gap)
			}
			last = at(t, c)
		}
		if left := 10*time.Hour - last; left > 15*time.Second {
			t.Errorf("the last attempt was %v before the end; the loop gave up", left)
		}
		if n := logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 {
			t.Errorf("the same failure was warned about %d times, want once", n)
		}
	})
}

func TestMaxElapsedTimeGoesBackToTheNormalInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPolicy()
		p.MaxElapsedTime = 30 * time.Second
		tg := &target{answer: func(int, bool) (string, bool, error) { return "", false, &failure{class: "transient"} }}
		run(t, tg, p, nil, nil, 10*time.Minute)
		n := len(tg.calls)
		for _, i := range []int{n - 1, n - 2} {
			if gap := at(t, tg.calls[i]) - at(t, tg.calls[i-1]); !near(time.Minute, gap, 0.1) {
				t.Errorf("after max-elapsed-time waited %v, want the refresh interval", gap)
			}
		}
	})
}

func TestAnAttemptThatHangsEndsAtTheRefreshTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := &target{hang: true}
		reports, _ := run(t, tg, testPolicy(), nil, nil, 30*time.Second)
		if len(tg.calls) < 2 || at(t, tg.calls[1]) < 10*time.Second || at(t, tg.calls[1]) > 11500*time.Millisecond {
			t.Fatalf("calls %v, want the second within 11.5 s", tg.calls)
		}
		want := "no success within the refresh timeout of 10s (context deadline exceeded)"
		if got := reports[0].LastError; got != want {
			t.Errorf("reported %q, want %q", got, want)
		}
	})
}

func TestDemotionEndsAHangingAttemptAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := &target{hang: true, start: time.Now()}
		demoted := errors.New("demoted")
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan error, 1)
		go func() { done <- (&refresher.Loop{Target: tg, Policy: testPolicy()}).Run(ctx) }()
		synctest.Wait()
		begun := time.Now()
		cancel(demoted)
		if err := <-done; !errors.Is(err, demoted) {
			t.Errorf("Run returned %v, want the cause", err)
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("took %v to end", d)
		}
	})
}

func TestTheftIsClaimedBackAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := &target{answer: func(n int, claimFirst bool) (string, bool, error) {
			if n == 2 {
				return "lb2", true, nil
			}
			return "", claimFirst, nil
		}}
		reports, logs := run(t, tg, testPolicy(), nil, nil, time.Minute)
		got := reports[2]
		if got.Thefts != 1 || got.Claims != 2 || got.Owner != refresher.Here || got.Contested {
			t.Errorf("reported %+v, want one theft, two claims, here again", got)
		}
		if n := logs.FilterMessage("floating IP was stolen").FilterField(zap.String("owner", "lb2")).Len(); n != 1 {
			t.Errorf("the theft was logged %d times with its thief, want once", n)
		}
		// Settle checks begin again after the claim at 5 s.
		want := []string{"claim at 0s", "observe at 2s", "observe at 5s", "observe at 7s", "observe at 10s", "observe at 20s"}
		if diff := cmp.Diff(want, tg.calls); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestContestedClaimsBackOffToTheIntervalAndRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := &target{}
		tg.answer = func(n int, claimFirst bool) (string, bool, error) {
			if n > 0 && time.Since(tg.start) < 10*time.Minute {
				return "lb2", true, nil
			}
			return "", claimFirst, nil
		}
		verify := make(chan struct{})
		during := func() {
			for range 1200 { // keepalived asks once a second, for 20 minutes
				time.Sleep(time.Second)
				select {
				case verify <- struct{}{}:
				default:
				}
			}
		}
		reports, logs := run(t, tg, testPolicy(), verify, during, 20*time.Minute)
		claims := 0
		for _, c := range tg.calls {
			if at(t, c) < 10*time.Minute {
				claims++
			}
		}
		// 0, 2, 4, 6 s, then 2, 4, 8, 16, 32 s apart, then once a minute.
		if claims > 22 {
			t.Errorf("%d claims in ten contested minutes, want 22 at most: %v", claims, tg.calls)
		}
		if n := logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 1 {
			t.Errorf("%d ERRORs for a contested address, want one", n)
		}
		if n := logs.FilterMessage("floating IP is no longer contested").Len(); n != 1 {
			t.Errorf("the end was told %d times, want once", n)
		}
		contested := false
		for _, r := range reports {
			contested = contested || r.Contested
		}
		if !contested {
			t.Error("never reported as contested")
		}
		if last := reports[len(reports)-1]; last.Contested || last.Owner != refresher.Here {
			t.Errorf("ten minutes after the rival left: %+v, want it here and not contested", last)
		}
	})
}

func TestVerifyNowObservesAtOnceButNotAtEachAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tg := &target{answer: func(_ int, claimFirst bool) (string, bool, error) { return "", claimFirst, nil }}
		verify := make(chan struct{}, 1)
		during := func() {
			time.Sleep(30 * time.Second)
			for range 100 { // 10 s of asks, ten a second
				select {
				case verify <- struct{}{}:
				default:
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		run(t, tg, testPolicy(), verify, during, 45*time.Second)
		if tg.calls[4] != "observe at 30s" {
			t.Errorf("the first ask led to %q, want it at 30s", tg.calls[4])
		}
		if n := len(tg.calls) - 4; n < 5 || n > 7 {
			t.Errorf("%d observations for 10 s of asks, want one per 2 s: %v", n, tg.calls)
		}
	})
}

func TestSetEndsOnlyTheLoopsOfAddressesThatAreNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ip := func(s string) vrrp.FloatingIP { return vrrp.FloatingIP{Prefix: netip.MustParsePrefix(s)} }
		a, b, c := ip("192.0.2.1/32"), ip("192.0.2.2/32"), ip("192.0.2.3/32")
		targets := map[string]*target{}
		var mu sync.Mutex
		var last []refresher.Report
		s := &refresher.Set{
			Loop: func(ip vrrp.FloatingIP) *refresher.Loop {
				tg := &target{start: time.Now(), answer: func(_ int, claimFirst bool) (string, bool, error) { return "", claimFirst, nil }}
				targets[ip.String()] = tg
				return &refresher.Loop{Target: tg, Policy: testPolicy()}
			},
			Changed: func(r []refresher.Report) {
				mu.Lock()
				defer mu.Unlock()
				last = r
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		s.Want(ctx, []vrrp.FloatingIP{a, b, a})
		synctest.Wait()
		first := targets[b.String()]
		s.Want(ctx, []vrrp.FloatingIP{b, c})
		synctest.Wait()
		if targets[b.String()] != first {
			t.Error("an address that stayed was started again")
		}
		mu.Lock()
		if len(last) != 2 || last[0].Owner != refresher.Here {
			t.Errorf("reports %+v, want two", last)
		}
		mu.Unlock()
		if !targets[a.String()].closed || targets[b.String()].closed {
			t.Error("want the target that went closed, and no other")
		}
		calls := len(targets[a.String()].calls)
		time.Sleep(time.Hour)
		if n := len(targets[a.String()].calls); n != calls {
			t.Errorf("an address that went was called %d times more", n-calls)
		}
		cancel()
		s.Wait()
	})
}
