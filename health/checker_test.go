package health_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/health"
	"berth/internal/journal"
	"berth/internal/metrics"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// runs has the checker of a check run in the background until the test ends.
func runs(t *testing.T, c *health.Checker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	ended := errors.New("the test ends")
	return func() {
		t.Helper()
		cancel(ended)
		if err := <-done; !errors.Is(err, ended) {
			t.Errorf("want the cause of the end, got %v", err)
		}
	}
}

// options are the defaults of the configuration.
func options(check health.Check) health.Options {
	return health.Options{Name: "web", Check: check, Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3}
}

// script is a check that fails in the runs that have a - in it, and passes in those
// with a +. The last result repeats.
func script(results string) health.Check {
	n := 0
	return func(context.Context) error {
		r := results[min(n, len(results)-1)]
		n++
		if r == '-' {
			return errors.New("HTTP status 500")
		}
		return nil
	}
}

func TestRiseAndFall(t *testing.T) {
	for _, tt := range []struct {
		name, runs string
		want       string // after each run: whether it holds
		reason     string // in the end
	}{
		{"healthy after rise", "++++", "-+++", ""},
		{"one good run is not enough", "+-+-+-+-", "--------", "web: HTTP status 500"},
		{"the failures before the first rise do not count", "--++", "---+", ""},
		{"fewer failures than fall change nothing", "++--+--+", "-+++++++", ""},
		{"unhealthy after fall", "++---", "-+++-", "web: HTTP status 500"},
		{"healthy again after rise", "++---++", "-+++--+", ""},
		{"one good run does not make it healthy again", "++---+-", "-+++---", "web: HTTP status 500"},
		{"on the way up", "++---+", "-+++--", "web: 1 of 2 good runs in a row"},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := options(script(tt.runs))
			o.Interval, o.Timeout = 10*time.Second, 9*time.Second // eight runs come up to seven seconds early
			o.Check = stepwise(o.Check)
			c := health.New(o)
			if holds, reason := c.State(); holds || reason != "web: not checked yet" {
				t.Errorf("%s: before the first run: got %v %q", tt.name, holds, reason)
			}
			stop := runs(t, c)
			var got strings.Builder
			for range tt.runs {
				synctest.Wait()
				holds, reason := c.State()
				got.WriteString(map[bool]string{true: "+", false: "-"}[holds])
				if got.Len() == len(tt.runs) && reason != tt.reason {
					t.Errorf("%s: got the reason %q, want %q", tt.name, reason, tt.reason)
				}
				time.Sleep(10 * time.Second)
			}
			stop()
			if got.String() != tt.want {
				t.Errorf("%s: runs %s: got %s, want %s", tt.name, tt.runs, got.String(), tt.want)
			}
		})
	}
}

// stepwise lets a check take as long as makes its runs begin every ten seconds.
func stepwise(check health.Check) health.Check {
	begin := time.Now()
	n := 0
	return func(ctx context.Context) error {
		time.Sleep(time.Until(begin.Add(time.Duration(n) * 10 * time.Second)))
		n++
		return check(ctx)
	}
}

func TestAFailureIsNoticedWithinFallIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		c := health.New(options(func(ctx context.Context) error {
			if broken.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}))
		stop := runs(t, c)
		time.Sleep(2*time.Second + time.Millisecond) // the second run has been
		if holds, reason := c.State(); !holds {
			t.Errorf("want it healthy after two runs, the first at once, got %q", reason)
		}
		time.Sleep(time.Minute)
		for range 20 {
			changed := make(chan struct{}, 1)
			unwatch := c.Watch(func() { changed <- struct{}{} })
			broken.Store(true)
			begin := time.Now()
			<-changed
			if took := time.Since(begin); took > 3*2*time.Second+time.Second {
				t.Errorf("a check that hangs was unhealthy after %v, want three intervals and a timeout at most", took)
			}
			if _, reason := c.State(); reason != "web: timed out after 1s" {
				t.Errorf("got the reason %q", reason)
			}
			unwatch()
			broken.Store(false)
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		stop()
	})
}

// A check that ignores its context fails each time and does not pile up.
func TestACheckThatHangsIsRunOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var alive, most, began atomic.Int32
		release := make(chan struct{})
		c := health.New(options(func(context.Context) error {
			began.Add(1)
			if n := alive.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-release
			alive.Add(-1)
			return nil
		}))
		stop := runs(t, c)
		time.Sleep(time.Minute)
		synctest.Wait()
		if most.Load() != 1 || began.Load() != 1 {
			t.Errorf("runs that began: %d, at the same time: %d, want one", began.Load(), most.Load())
		}
		if holds, reason := c.State(); holds || reason != "web: the run before has not ended although its time is over" {
			t.Errorf("got %v %q", holds, reason)
		}
		close(release)
		time.Sleep(5 * time.Second) // rise
		synctest.Wait()
		if holds, reason := c.State(); !holds {
			t.Errorf("want it healthy when the check returns in time again, got %q", reason)
		}
		stop()
	})
}

func TestACheckThatReturnsTooLateHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := health.New(options(func(context.Context) error {
			time.Sleep(time.Second + 10*time.Millisecond)
			return nil
		}))
		stop := runs(t, c)
		time.Sleep(time.Minute)
		synctest.Wait()
		if holds, reason := c.State(); holds || reason != "web: timed out after 1s" {
			t.Errorf("got %v %q", holds, reason)
		}
		stop()
		time.Sleep(2 * time.Second) // the end does not wait for the run
	})
}

// The successor of a process has to go on within its lease: neither a check that waits nor
// one that cannot be ended, such as a program in an uninterruptible sleep, may hold the
// end up.
func TestTheEndWaitsForARunForAMomentOnly(t *testing.T) {
	for name, ends := range map[string]bool{"a check that ends with its context": true, "a check that cannot be ended": false} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			o := options(func(ctx context.Context) error {
				if ends {
					<-ctx.Done()
					return ctx.Err()
				}
				<-release
				return nil
			})
			o.Interval, o.Timeout = time.Minute, time.Minute
			c := health.New(o)
			set := health.NewSet(o)
			stop := runs(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			once := make(chan struct{})
			go func() { defer close(once); set.Once(ctx) }()
			time.Sleep(10 * time.Second)
			begin := time.Now()
			stop()
			cancel()
			<-once
			most := 200 * time.Millisecond
			if ends {
				most = 0
			}
			if took := time.Since(begin); took > most {
				t.Errorf("%s: the end took %v, want %v at the most", name, took, most)
			}
			close(release)
		})
	}
}

func TestRunsAreJitteredAndNeverLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		c := health.New(options(func(context.Context) error {
			at = append(at, time.Now())
			return nil
		}))
		begin := time.Now()
		stop := runs(t, c)
		time.Sleep(time.Minute)
		stop()
		if at[0] != begin {
			t.Errorf("the first run was after %v, want it at once", at[0].Sub(begin))
		}
		pauses := map[time.Duration]bool{}
		for i := 1; i < len(at); i++ {
			d := at[i].Sub(at[i-1])
			pauses[d] = true
			if d < 1800*time.Millisecond || d > 2*time.Second {
				t.Errorf("a pause of %v, want from 1.8 s to 2 s", d)
			}
		}
		if len(pauses) < 10 {
			t.Errorf("the pauses are %v; want these to differ", pauses)
		}
	})
}

func TestUnhealthyIsToldOnceAndSoIsHealthyAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		r := &metrics.Registry{}
		o := options(script("++-----++"))
		o.Journal, o.Metrics = journal.New(zap.New(core)), health.NewMetrics(r)
		var states []health.State
		o.Changed = func(s health.State) { states = append(states, s) }
		c := health.New(o)
		begin := time.Now()
		stop := runs(t, c)
		time.Sleep(12 * time.Second)
		synctest.Wait()
		wantSeries(t, r, `berth_health_up{check="web"} 0`, `berth_health_runs_total{check="web",result="ok"} 2`)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantSeries(t, r, `berth_health_up{check="web"} 1`, `berth_health_runs_total{check="web",result="failed"} 5`, `berth_health_run_duration_seconds_count{check="web"} `)
		stop()
		var text strings.Builder
		if err := r.WriteText(&text); err != nil || strings.Contains(text.String(), "berth_health_up{") {
			t.Errorf("a check that does not run any more has a state: %v\n%s", err, text.String())
		}
		var lines []string
		for _, l := range logs.All() {
			m := l.ContextMap()
			lines = append(lines, fmt.Sprintf("%v %v %v %v", l.Level, m["code"], m["check"], m["error"]))
		}
		want := []string{"warn health-check-failed web HTTP status 500", "info health-check-failed web <nil>"}
		if strings.Join(lines, "\n") != strings.Join(want, "\n") {
			t.Errorf("got the lines %q, want %q", lines, want)
		}
		if first := states[0]; first.Healthy || first.Reason != "not checked yet" || first.Since != begin {
			t.Errorf("got the first state %+v", first)
		}
		last := states[len(states)-1]
		if !last.Healthy || last.Reason != "" || last.Since.Before(begin.Add(14*time.Second)) {
			t.Errorf("got the last state %+v, want healthy since the second good run", last)
		}
	})
}

func wantSeries(t *testing.T, r *metrics.Registry, want ...string) {
	t.Helper()
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		if !strings.Contains(text.String(), w) {
			t.Errorf("want %s in\n%s", w, text.String())
		}
	}
}

// After a restart the addresses stay where they are if the check is as good as before.
func TestASuccessorPresumesWhatItsPredecessorFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name, runs string
			when       time.Duration // of the presumption
			want       bool          // at once, and 3.9 s later
			later      bool
		}{
			{"nothing is known yet", "+", 0, true, true},
			{"a run has failed", "-+", time.Second, true, true},
			{"fall runs fail", "-", 0, true, false},
			{"unhealthy already", "-", 20 * time.Second, false, false},
		} {
			o := options(script(tt.runs))
			c := health.New(o)
			stop := runs(t, c)
			time.Sleep(tt.when)
			synctest.Wait()
			c.Presume()
			if holds, reason := c.State(); holds != tt.want {
				t.Errorf("%s: got %v %q", tt.name, holds, reason)
			}
			time.Sleep(4100 * time.Millisecond)
			synctest.Wait()
			if holds, reason := c.State(); holds != tt.later {
				t.Errorf("%s, later: got %v %q", tt.name, holds, reason)
			}
			stop()
		}
	})
}

func TestASetRunsItsChecksIndependently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runsOfWeb int
		hangs := options(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		hangs.Name = "db"
		s := health.NewSet(options(func(context.Context) error { runsOfWeb++; return nil }), hangs)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if runsOfWeb < 30 {
			t.Errorf("runs beside a check that hangs: %d, want one every 2 s", runsOfWeb)
		}
		var got []string
		for _, c := range s.Conditions([]string{"db", "web", "unknown"}) {
			holds, reason := c.State()
			got = append(got, fmt.Sprint(holds, " ", reason))
		}
		if want := "false db: timed out after 1s|true "; strings.Join(got, "|") != want {
			t.Errorf("got %q, want %q", strings.Join(got, "|"), want)
		}
		cancel()
		<-done
	})
}

// Without checks the task of the set must not end, which would end berth.
func TestAnEmptySetRunsUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = health.NewSet().Run(ctx)
			ended = true
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		if ended {
			t.Error("it has ended")
		}
		cancel()
		<-done
	})
}

func TestOnceRunsAllAtTheSameTimeAndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(name string) health.Options {
			o := options(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			o.Name = name
			return o
		}
		s := health.NewSet(options(func(context.Context) error { time.Sleep(20 * time.Millisecond); return nil }), hangs("db"), hangs("api"))
		begin := time.Now()
		results := s.Once(t.Context())
		if took := time.Since(begin); took > 1100*time.Millisecond {
			t.Errorf("took %v, want one timeout", took)
		}
		if n := health.Failed(results); n != 2 {
			t.Errorf("failed: %d", n)
		}
		var table, doc strings.Builder
		if err := errors.Join(health.Table(&table, results), health.JSON(&doc, results[:2])); err != nil {
			t.Fatal(err)
		}
		if want := "ok      20ms  web\nfailed  1s    db   timed out after 1s\nfailed  1s    api  timed out after 1s\n"; table.String() != want {
			t.Errorf("got\n%swant\n%s", table.String(), want)
		}
		want := `[
  {
    "check": "web",
    "healthy": true,
    "seconds": 0.02
  },
  {
    "check": "db",
    "healthy": false,
    "reason": "timed out after 1s",
    "seconds": 1
  }
]
`
		if doc.String() != want {
			t.Errorf("got\n%s", doc.String())
		}
	})
}
