package run_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/run"

	"golang.org/x/sys/unix"
)

var errBroken = errors.New("pipe is broken")

// until returns a task that lasts until its context ends, and notes why.
func until(name string, why *error) run.Task {
	return run.Task{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		*why = context.Cause(ctx)
		return context.Cause(ctx)
	}}
}

// after returns a task that ends by itself.
func after(name string, d time.Duration, err error) run.Task {
	return run.Task{Name: name, Run: func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(d):
			return err
		}
	}}
}

func TestTheFirstThatFailsEndsTheOthersAndItsNameIsInTheError(t *testing.T) {
	for name, f := range map[string]func(context.Context, ...run.Task) error{"Together": run.Together, "All": run.All} {
		synctest.Test(t, func(t *testing.T) {
			var why error
			err := f(t.Context(), until("status", &why), after("fifo", time.Second, errBroken), after("later", time.Minute, errors.New("too late")))
			if err == nil || err.Error() != "fifo: pipe is broken" || !errors.Is(err, errBroken) {
				t.Errorf("%s: want the error with the name, got %v", name, err)
			}
			if why != run.ErrOtherEnded {
				t.Errorf("%s: want the others ended because of it, got %v", name, why)
			}
		})
	}
}

func TestNamesOfTasksWithinTasks(t *testing.T) {
	err := run.Together(t.Context(), run.Task{Name: "holdings", Run: func(ctx context.Context) error {
		return run.All(ctx, after("VI_1", 0, errBroken))
	}})
	if err == nil || err.Error() != "holdings: VI_1: pipe is broken" {
		t.Errorf("got %v", err)
	}
}

func TestATaskThatIsDoneEndsWhatRunsTogetherButNotAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why error
		start := time.Now()
		if err := run.Together(t.Context(), until("status", &why), after("holdings", time.Second, nil)); err != nil || time.Since(start) != time.Second {
			t.Errorf("together: want the end of the first after 1s, got %v after %v", err, time.Since(start))
		}
		start = time.Now()
		if err := run.All(t.Context(), after("a", time.Second, nil), after("b", time.Minute, nil)); err != nil || time.Since(start) != time.Minute {
			t.Errorf("all: want the end of the last after 1m, got %v after %v", err, time.Since(start))
		}
	})
}

func TestEverybodyIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := false
		err := run.Together(t.Context(), after("fifo", time.Second, errBroken), run.Task{Name: "slow", Run: func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Hour)
			slow = true
			return nil
		}})
		if !slow || !errors.Is(err, errBroken) {
			t.Errorf("waited %v, %v", slow, err)
		}
	})
}

func TestAnEndFromOutsideHasNoName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := errors.New("terminated")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(told) })
		var why error
		if err := run.Together(ctx, until("status", &why)); err != told || why != told {
			t.Errorf("want the cause itself, got %v, and to the task %v", err, why)
		}
	})
}

func TestNoTasks(t *testing.T) {
	if err := run.All(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReadyWaitsForAllThatHaveSomethingToBecomeReadyFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := func(d time.Duration) func(context.Context) {
			return func(ctx context.Context) {
				select {
				case <-ctx.Done():
				case <-time.After(d):
				}
			}
		}
		start := time.Now()
		run.Ready(t.Context(), run.Task{Name: "fifo", Ready: ready(time.Second)}, run.Task{Name: "status"}, run.Task{Name: "metrics", Ready: ready(2 * time.Second)})
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("want it after the last, it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		run.Ready(ctx, run.Task{Name: "fifo", Ready: ready(time.Hour)})
		if took := time.Since(start); took != time.Second {
			t.Errorf("want it to end with its context, it took %v", took)
		}
	})
}

func TestASignalCallsTheTaskUntilItEnds(t *testing.T) {
	called := make(chan struct{})
	task := run.OnSignal("reload", unix.SIGUSR1, func(context.Context) { called <- struct{}{} })
	if err := unix.Kill(os.Getpid(), unix.SIGUSR1); err != nil { // before the task runs
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	var err error
	var running sync.WaitGroup
	running.Go(func() { err = task.Run(ctx) })
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 2 {
		for got := false; !got; {
			if kerr := unix.Kill(os.Getpid(), unix.SIGUSR1); kerr != nil {
				t.Fatal(kerr)
			}
			select {
			case <-called:
				got = true
			case <-tick.C:
			}
		}
	}
	ended := errors.New("test is over")
	cancel(ended)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		running.Wait()
	}()
	for {
		select {
		case <-called: // of a signal that was still under way
			continue
		case <-drained:
		}
		break
	}
	if err != ended || task.Name != "reload" {
		t.Errorf("got %v of %s, want the cause", err, task.Name)
	}
}

// While berth ends what it does, or before it has begun, a signal must not end it.
func TestSignalsThatWereCaughtDoNothingButWhatTheTaskDoes(t *testing.T) {
	hangup := run.Catch(unix.SIGHUP)
	defer hangup.Release()
	send := func() {
		t.Helper()
		if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil { // it would end the test
			t.Fatal(err)
		}
	}
	for range 2 { // the second time a signal has come after the end of the first task
		send()
		ctx, cancel := context.WithCancelCause(t.Context())
		called := make(chan struct{}, 2)
		done := make(chan error, 1)
		go func() { done <- hangup.Task("reload", func(context.Context) { called <- struct{}{} }).Run(ctx) }()
		<-called
		cancel(errBroken)
		if err := <-done; err != errBroken {
			t.Errorf("got %v, want the cause", err)
		}
		send()
	}
}
