package journal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/metrics"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

var (
	happened = journal.Kind{Code: "happened", Level: zap.InfoLevel, Text: "the state changed"}
	failing  = journal.Kind{Code: "failing", Level: zap.WarnLevel, Text: "cannot write", Over: "written again"}
	refused  = journal.Kind{Code: "refused", Level: zap.ErrorLevel, Text: "the provider refuses", Over: "accepted again", Distinct: true}
	follows  = journal.Kind{Code: "follows", Level: zap.WarnLevel, Text: "without a lease", Over: "with a lease", DependsOn: []string{"refused"}}
	patient  = journal.Kind{Code: "patient", Level: zap.WarnLevel, Text: "cannot listen", Over: "listening again", Lasting: 2 * time.Second}
)

// book returns a journal and what it has said: the lines of its log, and the events.
func book() (j *journal.Journal, lines func() string, events *[]journal.Event) {
	core, logs := observer.New(zap.InfoLevel)
	events = &[]journal.Event{}
	j = journal.New(zap.New(core), func(e journal.Event) { *events = append(*events, e) })
	return j, func() string {
		var all []string
		for _, l := range logs.TakeAll() {
			fields := l.ContextMap()
			all = append(all, fmt.Sprintf("%v %s: %s: %v", l.Level, fields["code"], l.Message, fields["error"]))
		}
		return strings.ReplaceAll(strings.Join(all, "\n"), ": <nil>", "")
	}, events
}

func TestWhatHappensIsALineAndAnEvent(t *testing.T) {
	j, lines, events := book()
	part := j.With(zap.String("instance", "VI_1")).With(zap.String("address", "192.0.2.1/32"))
	part.Tell(happened, zap.String("former", "BACKUP"), zap.String("state", "MASTER"), zap.String("reason", "MASTER reported"))
	j.Tell(happened, zap.Error(errors.New("no space left")))
	if got, want := lines(), "info happened: the state changed\ninfo happened: the state changed: no space left"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	first, second := (*events)[0], (*events)[1]
	if first.ID == second.ID || first.ID == "" || first.Since != first.Time || first.Time.IsZero() {
		t.Errorf("want an ID each, and a time, got %+v, %+v", first, second)
	}
	first.ID, first.Since, first.Time = "", time.Time{}, time.Time{}
	want := journal.Event{Code: "happened", Level: zap.InfoLevel, Text: "the state changed",
		Instance: "VI_1", Address: "192.0.2.1/32", From: "BACKUP", To: "MASTER", Reason: "MASTER reported"}
	if first != want {
		t.Errorf("got %+v, want %+v", first, want)
	}
	if second.Reason != "no space left" || second.Instance != "" {
		t.Errorf("got %+v", second)
	}
}

func TestAFailureIsSaidOnceAndSoIsItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines, events := book()
		c := j.Condition()
		c.Clear()
		for i := range 3 {
			c.Fail(failing, fmt.Errorf("attempt %d", i))
			time.Sleep(time.Second)
		}
		c.Clear()
		c.Clear()
		c.Fail(failing, errors.New("later"))
		want := "warn failing: cannot write: attempt 0\ninfo failing: written again\nwarn failing: cannot write: later"
		if got := lines(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		begin, end, again := (*events)[0], (*events)[1], (*events)[2]
		if begin.Over || !end.Over || end.ID != begin.ID || end.Since != begin.Since || end.Time.Sub(end.Since) != 3*time.Second {
			t.Errorf("want an end that belongs to its beginning, got %+v, %+v", begin, end)
		}
		if again.ID == begin.ID || again.Since == begin.Since {
			t.Errorf("want another failure, got %+v", again)
		}
	})
}

func TestAnotherReasonIsSaidOnlyWhereItIsDistinct(t *testing.T) {
	j, lines, _ := book()
	c := j.Condition()
	c.Fail(refused, errors.New("403"))
	c.Fail(refused, errors.New("403"))
	c.Fail(refused, errors.New("401"))
	c.Fail(failing, errors.New("401")) // another kind in the same place
	c.Fail(failing, errors.New("timeout"))
	c.Clear()
	want := "error refused: the provider refuses: 403\nerror refused: the provider refuses: 401\nwarn failing: cannot write: 401\ninfo failing: written again"
	if got := lines(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestOneOutageHidesWhatFollowsFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines, _ := book()
		outage, one, other := j.Condition(), j.Condition(), j.Condition()
		outage.Fail(refused, errors.New("connection refused"))
		one.Fail(follows, errors.New("VI_1"))
		other.Fail(follows, errors.New("VI_2"))
		if got := lines(); got != "error refused: the provider refuses: connection refused" {
			t.Errorf("while the outage lasts: got\n%s", got)
		}
		outage.Clear()
		time.Sleep(time.Second)
		one.Clear()
		time.Sleep(time.Minute)
		synctest.Wait()
		// One ended with the outage and is no news; the other has a cause of its own.
		want := "info refused: accepted again\nwarn follows: without a lease: VI_2"
		if got := lines(); got != want {
			t.Errorf("after it: got\n%s\nwant\n%s", got, want)
		}
		outage.Fail(refused, errors.New("again"))
		other.Clear()
		if got, want := lines(), "error refused: the provider refuses: again\ninfo follows: with a lease"; got != want {
			t.Errorf("the end of what was said: got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestWhatMustLastIsSaidOnlyThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines, events := book()
		c := j.Condition()
		c.Fail(patient, errors.New("address in use"))
		time.Sleep(1900 * time.Millisecond)
		c.Clear()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := lines(); got != "" || len(*events) != 0 {
			t.Errorf("want nothing said of what was over soon, got\n%s", got)
		}
		c.Fail(patient, errors.New("address in use"))
		time.Sleep(time.Second)
		c.Fail(patient, errors.New("no such address"))
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if got := lines(); got != "" {
			t.Errorf("too early:\n%s", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got, want := lines(), "warn patient: cannot listen: no such address"; got != want {
			t.Errorf("got %q, want %q, with the newest reason", got, want)
		}
		if !c.Holds() {
			t.Error("want it to hold")
		}
	})
}

func TestTheEndOfWhatWasSaidIsToldAlsoIfAnotherKindWasAboutToBeSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines, events := book()
		c := j.Condition()
		c.Fail(failing, errors.New("no space left"))
		time.Sleep(time.Second)
		c.Fail(patient, errors.New("address in use"))
		c.Clear()
		if got, want := lines(), "warn failing: cannot write: no space left\ninfo failing: written again"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if begin, end := (*events)[0], (*events)[1]; end.ID != begin.ID || !end.Over || !end.Lasts || !begin.Lasts {
			t.Errorf("want an end that belongs to its beginning, got %+v, %+v", begin, end)
		}
	})
}

func TestMetricsOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := journal.Kind{Code: "silent", Level: zap.WarnLevel, Text: "cannot be ended aloud"}
		r := &metrics.Registry{}
		m := journal.NewMetrics(r, []journal.Kind{happened, failing, refused, silent})
		core, logs := observer.New(zap.InfoLevel)
		j := journal.New(zap.New(core), m.Take)
		want := func(name string, codes ...string) {
			t.Helper()
			var text strings.Builder
			if err := r.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(text.String()) {
				if line, ok := strings.CutPrefix(line, name+`{code="`); ok {
					got = append(got, strings.TrimSpace(strings.Replace(line, `"}`, "", 1)))
				}
			}
			if !slices.Equal(got, codes) {
				t.Errorf("%s: got %q, want %q", name, got, codes)
			}
		}
		want("berth_events_total", "failing 0", "happened 0", "refused 0", "silent 0")
		want("berth_condition", "failing 0", "refused 0")
		one, two := j.Condition(), j.Condition()
		j.Tell(happened)
		one.Fail(failing, errors.New("a"))
		two.Fail(failing, errors.New("b"))
		one.Fail(failing, errors.New("again"))
		want("berth_condition", "failing 2", "refused 0")
		one.Fail(refused, errors.New("403"))
		one.Fail(refused, errors.New("401"))
		want("berth_condition", "failing 1", "refused 1")
		want("berth_events_total", "failing 2", "happened 1", "refused 2", "silent 0")
		one.Clear()
		two.Clear()
		two.Fail(silent, errors.New("c"))
		want("berth_condition", "failing 0", "refused 0", "silent 1")
		one.Fail(failing, errors.New("d"))
		logs.TakeAll()
		two.Clear()
		one.Drop()
		want("berth_condition", "failing 0", "refused 0", "silent 0")
		if logs.Len() != 0 {
			t.Errorf("want no line for an end without a text, or where the place is gone, got %v", logs.All())
		}
		var none *journal.Metrics
		none.Take(journal.Event{})
	})
}

func TestAnOutageOfAnotherKindHidesNothingThatDoesNotFollowFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines, _ := book()
		outage, one, long := j.Condition(), j.Condition(), j.Condition()
		slow := follows
		slow.Code, slow.Text, slow.Lasting = "slow", "slow", time.Minute
		outage.Fail(refused, errors.New("403"))
		one.Fail(follows, errors.New("VI_1"))
		long.Fail(slow, errors.New("VI_2"))
		outage.Fail(failing, errors.New("timeout")) // in the same place
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := "error refused: the provider refuses: 403\nwarn failing: cannot write: timeout\nwarn follows: without a lease: VI_1"
		if got := lines(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := lines(), "warn slow: slow: VI_2"; got != want {
			t.Errorf("what must last longer: got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestADroppedConditionEndsWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines, _ := book()
		outage, other := j.Condition(), j.Condition()
		outage.Fail(refused, errors.New("403"))
		other.Fail(follows, errors.New("VI_1"))
		outage.Drop()
		outage.Drop()
		if outage.Holds() {
			t.Error("want it not to hold")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, want := lines(), "error refused: the provider refuses: 403\nwarn follows: without a lease: VI_1"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestConditionsOfAPartEndWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, lines, events := book()
		part, end := j.Part()
		inner, _ := part.With(zap.String("instance", "VI_1")).Part()
		conditions := []*journal.Condition{part.Condition(), inner.Condition()}
		waiting, other, moved := part.Condition(), j.Condition(), part.Condition()
		for i, c := range conditions {
			c.Fail(failing, fmt.Errorf("disk %d", i))
		}
		waiting.Fail(patient, errors.New("address in use"))
		other.Fail(failing, errors.New("of the process"))
		moved.Fail(failing, errors.New("of the next part"))
		next, endNext := j.Part()
		moved.Move(next)
		said := lines()
		end()
		end()
		over := 0
		for _, e := range *events {
			if e.Over {
				over++
			}
		}
		if over != len(conditions) {
			t.Errorf("the ends of %d conditions were told, want those of %d", over, len(conditions))
		}
		for i, c := range append(conditions, waiting) {
			c.Fail(failing, errors.New("too late"))
			if c.Holds() {
				t.Errorf("condition %d holds after its part", i)
			}
		}
		if !other.Holds() || !moved.Holds() {
			t.Error("want those of the process and of the next part to hold")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		part.Tell(happened)
		moved.Clear()
		if got, want := lines(), "info happened: the state changed\ninfo failing: written again"; got != want {
			t.Errorf("after\n%s\ngot\n%s\nwant\n%s", said, got, want)
		}
		moved.Fail(failing, errors.New("again"))
		endNext()
		if moved.Holds() {
			t.Error("want it to end with the part it was moved to")
		}
	})
}

func TestAnEventThatIsBeingWrittenKeepsNoOtherWaiting(t *testing.T) {
	writing, goOn := make(chan struct{}), make(chan struct{})
	core, _ := observer.New(zap.InfoLevel)
	var events []journal.Event
	j := journal.New(zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if e.Message == happened.Text {
			close(writing)
			<-goOn
		}
		return nil
	})), func(e journal.Event) { events = append(events, e) })
	slow, quick := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(slow)
		j.Tell(happened)
	}()
	<-writing
	go func() {
		defer close(quick)
		j.Tell(failing)
		j.Condition().Fail(refused, errors.New("403"))
	}()
	select {
	case <-quick:
	case <-time.After(10 * time.Second):
		t.Error("others wait for a line that is being written")
	}
	close(goOn)
	<-slow
	<-quick
	if len(events) != 3 {
		t.Errorf("got the events %+v, want all three", events)
	}
}
