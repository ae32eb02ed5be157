package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/refresher"

	"github.com/google/go-cmp/cmp"
)

// The rule of what is said again: another text, a refusal once more when it has
// proved permanent, and of an address that is not one of the account only that.
func TestWhatIsSaidOfAnAddressThatFails(t *testing.T) {
	refusal := &failure{class: "invalid"}
	for _, row := range []struct {
		name   string
		answer func(n int, since time.Duration) error
		want   []string
	}{
		{"the same failure again and again", func(n int, _ time.Duration) error {
			if n < 5 {
				return errors.New("away")
			}
			return nil
		}, []string{"cannot point floating IP here yet; trying again: away", "floating IP points here again after failures"}},
		{"another text", func(n int, _ time.Duration) error {
			if n < 4 {
				return fmt.Errorf("away %d", n/2)
			}
			return nil
		}, []string{"cannot point floating IP here yet; trying again: away 0", "cannot point floating IP here yet; trying again: away 1",
			"floating IP points here again after failures"}},
		{"a refusal that lasts", func(_ int, since time.Duration) error {
			if since < 5*time.Minute {
				return refusal
			}
			return nil
		}, []string{"cannot point floating IP here yet; trying again: failed: invalid", "cannot point floating IP here; trying again each refresh interval: failed: invalid",
			"floating IP points here again after failures"}},
		{"not a floating IP of the account, in two words", func(n int, _ time.Duration) error {
			return fmt.Errorf("in %d words: %w", min(n, 1), &failure{class: "not-found"})
		}, []string{"address seems not to be a floating IP of the account; asking again: in 0 words: failed: not-found",
			"address is left alone: not a floating IP of the account: in 1 words: failed: not-found"}},
		{"at the end of the holding", func(int, time.Duration) error { return errors.New("away") },
			[]string{"cannot point floating IP here yet; trying again: away"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tg := &target{}
				tg.answer = func(n int, _ bool) (string, bool, error) {
					return "", false, row.answer(n, time.Since(tg.start))
				}
				_, logs := run(t, tg, testPolicy(), nil, nil, 10*time.Minute)
				var said []string
				for _, l := range logs.All() {
					text := l.Message
					if err, failed := l.ContextMap()["error"]; failed {
						text += fmt.Sprint(": ", err)
					} else if l.ContextMap()["after"] == nil {
						t.Errorf("%s: does not tell how long the failures lasted", text)
					}
					said = append(said, text)
				}
				if diff := cmp.Diff(row.want, said); diff != "" {
					t.Errorf("said (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// After a reload a loop can outlive the part of the process that its journal belongs to,
// whose conditions do not hold any more.
func TestALoopBacksOffAlthoughItsJournalTellsNothingAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		part, end := journal.New(nil).Part()
		end()
		attempts := 0
		tg := &target{answer: func(int, bool) (string, bool, error) {
			attempts++
			return "", false, errors.New("away")
		}}
		l := &refresher.Loop{Target: tg, Policy: testPolicy(), Journal: part}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_ = l.Run(ctx)
		if attempts > 120 { // one each second without a back-off
			t.Errorf("%d attempts within ten minutes, want them to grow apart to ten seconds", attempts)
		}
	})
}
