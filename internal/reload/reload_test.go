package reload_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/reload"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

var errOver = errors.New("test is over")

// story is what happens, in order.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// generation lasts until its context ends and a second longer, or for a while.
type generation struct {
	name string
	s    *story
	last time.Duration // 0: until its context ends
	j    *journal.Journal
}

var broken = journal.Kind{Code: "broken", Level: zap.WarnLevel, Text: "cannot write", Over: "written again"}

var errBroken = errors.New("broken")

func (g generation) Run(ctx context.Context) error {
	g.s.add("%s runs", g.name)
	if g.j != nil {
		g.j.Condition().Fail(broken, errors.New(g.name))
	}
	var until <-chan time.Time
	if g.last > 0 {
		until = time.After(g.last)
	}
	select {
	case <-ctx.Done():
	case <-until:
		return errBroken
	}
	time.Sleep(time.Second)
	g.s.add("%s ends: %v", g.name, context.Cause(ctx))
	return context.Cause(ctx)
}

// generations returns what runs the generations of these names; "" is a configuration
// that is refused.
func generations(s *story, last time.Duration, names ...string) (*reload.Generations[generation], *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return &reload.Generations[generation]{
		Next: func(_ context.Context, j *journal.Journal) (generation, error) {
			name := names[0]
			names = names[1:]
			if name == "" {
				j.Condition().Fail(broken, errors.New("of a configuration that is refused"))
				return generation{}, errors.New("line 3: what is this")
			}
			s.add("%s is built", name)
			return generation{name, s, last, j}, nil
		},
		Enforce: func(g generation) {
			synctest.Wait() // it runs
			s.add("%s is in force", g.name)
		},
		Restart: func() { s.add("restart") },
		Reading: func() { s.add("reading") },
		Read:    func() { s.add("read") },
		File:    "berth.yml",
		Journal: journal.New(zap.New(core)),
	}, logs
}

func TestTheNextGenerationIsInForceBeforeTheFormerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &story{}
		g, logs := generations(s, 0, "two", "", "three")
		ctx, cancel := context.WithCancelCause(t.Context())
		again := make(chan os.Signal, 1)
		done := make(chan error, 1)
		go func() { done <- g.Run(ctx, generation{name: "one", s: s}, func() { s.add("one is dropped") }, again) }()
		for range 3 {
			time.Sleep(time.Minute)
			again <- unix.SIGHUP
		}
		time.Sleep(time.Minute)
		cancel(errOver)
		if err := <-done; err != errOver {
			t.Errorf("got %v, want the cause", err)
		}
		want := []string{
			"one runs",
			"reading", "two is built", "two runs", "two is in force", "one ends: the configuration was read again", "one is dropped", "restart", "read",
			"reading", "read",
			"reading", "three is built", "three runs", "three is in force", "two ends: the configuration was read again", "restart", "read",
			"three ends: test is over",
		}
		if !slices.Equal(s.lines, want) {
			t.Errorf("got\n%q\nwant\n%q", s.lines, want)
		}
		var said []string
		for _, e := range logs.FilterMessageSnippet("configuration").All() {
			said = append(said, e.Level.String()+" "+e.Message)
		}
		if want := []string{"info the configuration was read again", "error the configuration was not read again; the former stays in force", "info the configuration was read again"}; !slices.Equal(said, want) {
			t.Errorf("told %q", said)
		}
	})
}

func TestAGenerationThatCannotGoOnEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &story{}
		g, _ := generations(s, time.Hour, "two")
		again := make(chan os.Signal, 1)
		again <- unix.SIGHUP
		begun := time.Now()
		if err := g.Run(t.Context(), generation{name: "one", s: s}, func() {}, again); err != errBroken {
			t.Errorf("got %v", err)
		}
		if d := time.Since(begun); d != time.Hour {
			t.Errorf("ended after %v", d)
		}
	})
}

// A condition of a generation is not known any more after its end; that of a generation
// that is refused never counted.
func TestConditionsOfAGenerationEndWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := generations(&story{}, 0, "two", "", "three", "")
		r := &metrics.Registry{}
		m := journal.NewMetrics(r, []journal.Kind{broken})
		g.Journal = journal.New(nil, m.Take)
		holding := func() string {
			var text strings.Builder
			if err := r.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			_, value, _ := strings.Cut(text.String(), `berth_condition{code="broken"} `)
			value, _, _ = strings.Cut(value, "\n")
			return value
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		again := make(chan os.Signal, 1)
		done := make(chan error, 1)
		j, end := g.Journal.Part()
		go func() { done <- g.Run(ctx, generation{name: "one", s: &story{}, j: j}, end, again) }()
		for i := range 5 {
			time.Sleep(time.Minute)
			if got := holding(); got != "1" {
				t.Errorf("after %d signals %s conditions hold, want that of the generation in force", i, got)
			}
			if i < 4 {
				again <- unix.SIGHUP
			}
		}
		cancel(errOver)
		<-done
		if got := holding(); got != "0" {
			t.Errorf("%s conditions hold after the end of all", got)
		}
	})
}
