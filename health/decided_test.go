package health_test

import (
	"testing"
	"testing/synctest"
	"time"

	"berth/health"
)

func TestACheckIsDecidedByARiseOrAFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for runsOf, want := range map[string]bool{"+": true, "-": false} {
			c := health.New(options(script(runsOf)))
			if s, known := c.Known(); known || s.Healthy {
				t.Errorf("%s: want nothing known before the first run, got %+v", runsOf, s)
			}
			stop := runs(t, c)
			synctest.Wait()
			if s, known := c.Known(); known || s.Healthy {
				t.Errorf("%s: want nothing decided by one run, got %+v", runsOf, s)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if s, known := c.Known(); !known || s.Healthy != want {
				t.Errorf("%s: want it decided, got %+v, %v", runsOf, s, known)
			}
			stop()
		}
	})
}
