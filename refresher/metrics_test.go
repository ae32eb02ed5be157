package refresher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/metrics"
	"berth/refresher"
)

func TestContestedIsAMetricWhileItLastsAndEndsWithTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &metrics.Registry{}
		has := func(line string) bool {
			var text strings.Builder
			if err := r.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			return strings.Contains(text.String(), line)
		}
		rival := time.Now().Add(time.Minute) // takes the address away until then
		tg := &target{answer: func(n int, claimFirst bool) (string, bool, error) {
			if claimFirst || time.Now().After(rival) {
				return "", claimFirst, nil
			}
			return "lb2", true, nil
		}}
		l := &refresher.Loop{Target: tg, Policy: testPolicy(), Series: refresher.NewMetrics(r).Series("VI_1", "192.0.2.1/24")}
		ctx, cancel := context.WithCancelCause(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.Run(ctx)
		}()
		const contested = `berth_contested{instance="VI_1",address="192.0.2.1/24"} `
		time.Sleep(time.Second)
		if !has(contested + "0") {
			t.Error("want the series from the start")
		}
		time.Sleep(30 * time.Second)
		if !has(contested + "1") {
			t.Error("want the contest to show")
		}
		time.Sleep(time.Hour)
		if !has(contested + "0") {
			t.Error("want the end of the contest to show")
		}
		cancel(errors.New("demoted"))
		<-done
		if has(contested) || has("berth_last_success_timestamp_seconds{") || !has("berth_thefts_total{") {
			t.Error("want what was counted to stay, and what alerts to be gone")
		}
	})
}
