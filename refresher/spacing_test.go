package refresher_test

import (
	"testing"
	"testing/synctest"
	"time"

	"berth/refresher"
)

func TestSpacingGrowsToTheLongestWaitWhateverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, class := range []string{"transient", "auth", "invalid", "not-found"} {
			s := refresher.NewSpacing(testPolicy())
			if first := s.Next(&failure{class: class}); first > 1500*time.Millisecond {
				t.Errorf("%s: the first wait is %v", class, first)
			}
			var last time.Duration
			for range 100 {
				time.Sleep(last)
				last = s.Next(&failure{class: class})
			}
			if last < 5*time.Second || last > 15*time.Second {
				t.Errorf("%s: the last wait is %v, want 10 s +-50 %%", class, last)
			}
		}
		if wait := refresher.NewSpacing(testPolicy()).Next(&failure{"rate-limited", 7 * time.Second}); wait != 7*time.Second {
			t.Errorf("the provider asked for 7 s, got %v", wait)
		}
	})
}
