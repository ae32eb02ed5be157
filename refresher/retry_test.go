package refresher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"berth/refresher"

	"go.uber.org/zap/zapcore"
)

// times returns when the target was called.
func times(t *testing.T, tg *target) []time.Duration {
	t.Helper()
	var all []time.Duration
	for _, c := range tg.calls {
		all = append(all, at(t, c))
	}
	return all
}

func TestARefusalThatLastsSlowsDownWhenItHasProvedPermanent(t *testing.T) {
	quick := testPolicy()
	quick.InitialInterval, quick.MaxInterval = 10*time.Millisecond, 50*time.Millisecond
	for _, row := range []struct {
		name   string
		class  string
		policy refresher.Policy
	}{
		{"400", "invalid", testPolicy()},
		{"401", "auth", testPolicy()},
		{"400 with a quick back-off", "invalid", quick},
		{"401 with a quick back-off", "auth", quick},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tg := &target{answer: func(int, bool) (string, bool, error) { return "", false, &failure{class: row.class} }}
				_, logs := run(t, tg, row.policy, nil, nil, 15*time.Minute)
				trial, last := 0, time.Duration(0)
				for _, when := range times(t, tg) {
					if when < 3*time.Minute {
						trial++
						last = when
					}
				}
				if trial < 15 || trial > 40 {
					t.Errorf("%d attempts in the first three minutes, want 40 at most: %v", trial, tg.calls)
				}
				if last < 2*time.Minute {
					t.Errorf("the last attempt of the first three minutes was at %v: it did not last for minutes", last)
				}
				if after := len(tg.calls) - trial; after < 10 || after > 14 {
					t.Errorf("%d attempts in twelve minutes more, want one in each refresh interval", after)
				}
				if n := logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 1 {
					t.Errorf("%d ERRORs, want one when the refusal has proved permanent: %v", n, logs.All())
				}
				if n := logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 {
					t.Errorf("%d warnings, want one for the first refusal", n)
				}
			})
		})
	}
}

func TestMaxElapsedTimeBoundsTheTrialOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPolicy()
		p.MaxElapsedTime = 20 * time.Second
		tg := &target{answer: func(int, bool) (string, bool, error) { return "", false, &failure{class: "invalid"} }}
		run(t, tg, p, nil, nil, 10*time.Minute)
		n := 0
		for _, when := range times(t, tg) {
			if when > 35*time.Second {
				n++
			}
		}
		if n < 8 || n > 11 {
			t.Errorf("%d attempts after max-elapsed-time, want one in each refresh interval: %v", n, tg.calls)
		}
	})
}

func TestLeftAloneNeedsTheSameAnswerThreeTimesOverFiveSeconds(t *testing.T) {
	const message = "address is left alone: not a floating IP of the account"
	missing, other := &failure{class: "not-found"}, &failure{class: "transient"}
	for _, row := range []struct {
		name  string
		err   func(n int, since time.Duration) error
		alone bool
	}{
		{"an empty list once", func(n int, _ time.Duration) error {
			if n == 0 {
				return missing
			}
			return nil
		}, false},
		{"an empty list for four seconds", func(_ int, since time.Duration) error {
			if since < 4*time.Second {
				return missing
			}
			return nil
		}, false},
		{"an empty list and an outage by turns", func(n int, since time.Duration) error {
			switch {
			case since > 30*time.Second:
				return nil
			case n%2 == 0:
				return missing
			}
			return other
		}, false},
		{"an address that is not one of the account", func(int, time.Duration) error { return missing }, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tg := &target{}
				tg.answer = func(n int, _ bool) (string, bool, error) {
					err := row.err(n, time.Since(tg.start))
					return "", err == nil, err
				}
				reports, logs := run(t, tg, testPolicy(), nil, nil, 10*time.Minute)
				if got := logs.FilterMessage(message).Len(); got != map[bool]int{true: 1}[row.alone] {
					t.Errorf("said %d times that the address is left alone", got)
				}
				if !row.alone {
					if last := reports[len(reports)-1]; last.Owner != refresher.Here {
						t.Errorf("at the end: %+v, want the address here", last)
					}
					return
				}
				first := logs.FilterMessage(message).All()[0].Time.Sub(tg.start)
				if first < 5*time.Second || first > 10*time.Second {
					t.Errorf("left alone after %v, want that soon after 5 s", first)
				}
				all := times(t, tg)
				if n := len(all); n > 20 {
					t.Errorf("%d attempts in ten minutes, want some in the first seconds and then one in each refresh interval", n)
				}
			})
		})
	}
}

func TestPrepareTriesAgainAndBelievesThatThereIsNothingOnlyInTheEnd(t *testing.T) {
	for _, row := range []struct {
		name    string
		answers func(n int) error
		least   int
		most    int
		end     time.Duration // by which it has ended
	}{
		{"refused once", func(n int) error {
			if n == 0 {
				return &failure{class: "auth"}
			}
			return nil
		}, 2, 2, 2 * time.Second},
		{"an empty list once", func(n int) error {
			if n == 0 {
				return &failure{class: "not-found"}
			}
			return nil
		}, 2, 2, 2 * time.Second},
		{"an account without floating IPs", func(int) error { return &failure{class: "not-found"} }, 3, 15, 20 * time.Second},
		{"an outage of an hour", func(n int) error {
			if n < 50 {
				return errors.New("away")
			}
			return nil
		}, 51, 51, time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, n := time.Now(), 0
				err := refresher.Prepare(t.Context(), testPolicy(), func(context.Context) error { n++; return row.answers(n - 1) }, nil)
				if err != nil {
					t.Error(err)
				}
				if took := time.Since(start); n < row.least || n > row.most || took > row.end {
					t.Errorf("ended after %d look-ups and %v, want %d to %d by %v", n, took, row.least, row.most, row.end)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		demoted := errors.New("ended")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(demoted) })
		n := 0
		err := refresher.Prepare(ctx, testPolicy(), func(context.Context) error { n++; return &failure{class: "auth"} }, nil)
		if !errors.Is(err, demoted) || n > 40+60 {
			t.Errorf("ended with %v after %s", err, fmt.Sprint(n, " look-ups"))
		}
	})
}
