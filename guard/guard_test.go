package guard_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"berth/guard"
)

// gate is a guard that opens and shuts on a schedule, and writes down what happens.
type gate struct {
	name string
	open time.Duration // for how long, each time; 0: until ctx ends
	shut time.Duration // before the first time and between two
	log  *[]string
	says error // of its check
}

var errShut = errors.New("shut")

func (g *gate) add(what string) { *g.log = append(*g.log, g.name+" "+what) }

func (g *gate) While(ctx context.Context, instance string, act guard.Act) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(g.shut):
		}
		allowed, cancel := context.WithCancelCause(ctx)
		if g.open > 0 {
			time.AfterFunc(g.open, func() { cancel(fmt.Errorf("%s is %w", g.name, errShut)) })
		}
		g.add("gives " + instance)
		err := act(allowed, guard.NewPermit(allowed, func(context.Context) error {
			g.add("checks")
			return g.says
		}))
		g.add("has it back: " + err.Error())
		cancel(nil)
		if ctx.Err() != nil || !errors.Is(err, errShut) {
			return err
		}
	}
}

// linger returns an act that ends a second after its context.
func linger(log *[]string) guard.Act {
	return func(ctx context.Context, _ *guard.Permit) error {
		*log = append(*log, "begins")
		<-ctx.Done()
		time.Sleep(time.Second)
		*log = append(*log, "ends")
		return context.Cause(ctx)
	}
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if !slices.Equal(got, lines) {
		t.Errorf("got\n%q\nwant\n%q", got, lines)
	}
}

func TestAChainAsksFromTheOutermostAndChecksFromTheInnermost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		c := guard.Chain(&gate{name: "lock", log: &log}, guard.Chain(), guard.Chain(&gate{name: "lease", log: &log}, &gate{name: "word", log: &log}))
		err := c.While(t.Context(), "VI_1", func(ctx context.Context, p *guard.Permit) error {
			if err := p.Check(ctx); err != nil {
				t.Errorf("got %v", err)
			}
			return errDone
		})
		if err != errDone {
			t.Errorf("got %v", err)
		}
		want(t, log, "lock gives VI_1", "lease gives VI_1", "word gives VI_1", "word checks", "lease checks", "lock checks",
			"word has it back: done", "lease has it back: done", "lock has it back: done")
	})
}

func TestOneRefusedCheckIsEnoughAndNoneFollowsIt(t *testing.T) {
	var log []string
	no := errors.New("overdue")
	c := guard.Chain(&gate{name: "lock", log: &log}, &gate{name: "lease", log: &log, says: no}, &gate{name: "word", log: &log})
	_ = c.While(t.Context(), "VI_1", func(ctx context.Context, p *guard.Permit) error {
		log = nil
		err := p.Check(ctx)
		if fenced, ok := errors.AsType[*guard.FencedError](err); !ok || fenced.Cause != no || err.Error() != "no permission to act: overdue" {
			t.Errorf("got %v", err)
		}
		want(t, log, "word checks", "lease checks")
		return errDone
	})
}

func TestNoCheckIsMadeAfterTheEndOfAContext(t *testing.T) {
	demoted := errors.New("demoted")
	for _, whose := range []string{"the write's", "the permit's"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		_ = guard.Chain(&gate{name: "lock", log: &[]string{}}).While(ctx, "VI_1", func(_ context.Context, p *guard.Permit) error {
			write := t.Context()
			if whose == "the write's" {
				write = ctx
			}
			cancel(demoted)
			err := p.Check(write)
			if _, ok := errors.AsType[*guard.FencedError](err); !ok || !errors.Is(err, demoted) {
				t.Errorf("%s: got %v, want the cause", whose, err)
			}
			return errDone
		})
	}
	// One that ends while the check waits counts too.
	ctx, cancel := context.WithCancelCause(t.Context())
	p := guard.NewPermit(t.Context(), func(context.Context) error { cancel(demoted); return nil })
	if err := p.Check(ctx); !errors.Is(err, demoted) {
		t.Errorf("got %v, want the cause", err)
	}
}

// A lease that comes and goes: the lock outside is kept, what is inside begins anew, and
// everything inside is over before the lease is given up.
func TestActIsOverBeforeAGuardGivesUpAndBeginsAgainWhenItComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		c := guard.Chain(&gate{name: "lock", log: &log}, &gate{name: "lease", open: time.Minute, shut: time.Minute, log: &log}, &gate{name: "word", log: &log})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(4*time.Minute+30*time.Second, func() { cancel(errDone) })
		begun := time.Now()
		if err := c.While(ctx, "a", linger(&log)); err != errDone {
			t.Errorf("got %v", err)
		}
		if d := time.Since(begun); d != 4*time.Minute+30*time.Second {
			t.Errorf("ended after %v", d)
		}
		want(t, log, "lock gives a",
			"lease gives a", "word gives a", "begins", "ends", "word has it back: lease is shut", "lease has it back: lease is shut",
			"lease gives a", "word gives a", "begins", "ends", "word has it back: lease is shut", "lease has it back: lease is shut",
			"lock has it back: done")
	})
}

func TestNoGuardReturnsBeforeActWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		l, _ := fileLock(t, t.TempDir()+"/lock", "")
		c := guard.Chain(l, &guard.LastWord{}, &gate{name: "lease", log: &log})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(errDone) })
		begun := time.Now()
		if err := c.While(ctx, "a", linger(&log)); err != errDone || time.Since(begun) != time.Minute+time.Second {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
		want(t, log, "lease gives a", "begins", "ends", "lease has it back: done")
	})
}

func TestTheLastWordIsWaitedForBeforeAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		demoted := errors.New("no longer MASTER")
		master, waits := true, false
		ctx, demote := context.WithCancelCause(t.Context())
		g := &guard.LastWord{
			CatchUp: func(context.Context) {
				if waits { // the BACKUP, which a machine takes a moment later
					time.Sleep(time.Second)
					master = false
					time.AfterFunc(time.Second, func() { demote(demoted) })
				}
			},
			IsMaster: func(instance string) bool { return master && instance == "VI_1" },
		}
		err := g.While(ctx, "VI_1", func(ctx context.Context, p *guard.Permit) error {
			if err := p.Check(ctx); err != nil {
				t.Errorf("while no event waits: %v", err)
			}
			waits = true
			begun := time.Now()
			if err := p.Check(ctx); !errors.Is(err, demoted) || time.Since(begun) != 2*time.Second {
				t.Errorf("got %v after %v, want the demotion", err, time.Since(begun))
			}
			return errDone
		})
		if err != errDone {
			t.Errorf("got %v", err)
		}
	})
}
