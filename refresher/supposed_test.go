package refresher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/refresher"

	"github.com/google/go-cmp/cmp"
)

func TestLoopOfAnAddressThatIsSupposedHereObservesFirst(t *testing.T) {
	here := func(int, bool) (string, bool, error) { return "", false, nil }
	for _, row := range []struct {
		name   string
		answer func(n int, claimFirst bool) (string, bool, error)
		want   []string // how, of the first attempts
	}{
		{"it is here", here, []string{"observe", "observe"}},
		{"it is not here", func(n int, claimFirst bool) (string, bool, error) { return "lb2", n == 0, nil }, []string{"observe", "observe"}},
		{"it cannot be observed", func(n int, claimFirst bool) (string, bool, error) {
			if n < 2 {
				return "", false, &failure{class: "transient"}
			}
			return "", claimFirst, nil
		}, []string{"observe", "claim", "claim", "observe"}},
		{"it is not of the account", func(n int, _ bool) (string, bool, error) {
			return "", false, &failure{class: "not-found"}
		}, []string{"observe", "observe"}},
		{"a later observation fails", func(n int, _ bool) (string, bool, error) {
			if n == 1 {
				return "", false, &failure{class: "transient"}
			}
			return "", false, nil
		}, []string{"observe", "observe", "observe"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tg := &target{answer: row.answer, start: time.Now()}
				l := &refresher.Loop{Target: tg, Policy: testPolicy(), Supposed: true}
				ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Minute, errors.New("over"))
				defer cancel()
				l.Run(ctx)
				var got []string
				for _, c := range tg.calls[:min(len(row.want), len(tg.calls))] {
					how, _, _ := strings.Cut(c, " ")
					got = append(got, how)
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("calls, want-, got+:\n%s\n%v", diff, tg.calls)
				}
			})
		})
	}
}

// slow is a target whose observations take a time of their own.
type slow struct {
	takes time.Duration
	calls []string
}

func (s *slow) Ensure(ctx context.Context, claimFirst bool) (string, bool, error) {
	if claimFirst {
		s.calls = append(s.calls, "claim")
		return "", true, nil
	}
	s.calls = append(s.calls, "observe")
	select {
	case <-ctx.Done():
		return "", false, ctx.Err()
	case <-time.After(s.takes):
		return "", false, nil
	}
}

func (s *slow) Close() {}

// An owner that is started again must not write because the API is slow.
func TestTheFirstObservationOfAnAddressThatIsSupposedHereMayBeSlow(t *testing.T) {
	for takes, want := range map[time.Duration][]string{
		time.Minute:     {"observe", "observe"},
		3 * time.Minute: {"observe", "claim"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tg := &slow{takes: takes}
			l := &refresher.Loop{Target: tg, Policy: testPolicy(), Supposed: true}
			ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Minute, errors.New("over"))
			defer cancel()
			l.Run(ctx)
			if d := cmp.Diff(want, tg.calls[:min(2, len(tg.calls))]); d != "" {
				t.Errorf("an observation that takes %v (-want +got):\n%s", takes, d)
			}
		})
	}
}
