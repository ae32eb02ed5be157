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
