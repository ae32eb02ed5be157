package supervise

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEar(t *testing.T) {
	refused := errors.New("permission denied")
	// A process that has no children of keepalived's kind.
	self := Keepalived{Parent: os.Getpid(), VRRP: os.Getpid()}
	type step struct {
		after  time.Duration
		k      Keepalived // zero: not known
		open   bool
		err    error
		stayed bool
		none   time.Duration // since when nobody writes, after the start; 0: somebody does
		want   string
	}
	const ms = time.Millisecond
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"open", []step{{0, self, true, nil, false, 0, "hears"}, {time.Hour, self, true, nil, true, 0, ""}}},
		{"closed and opened by a reload", []step{{0, self, true, nil, true, 0, "hears"}, {ms, self, false, nil, true, ms, ""},
			{900 * ms, self, false, nil, true, ms, ""}, {time.Second, self, true, nil, true, 0, ""}, {2 * time.Second, self, false, nil, true, 2 * time.Second, ""}}},
		{"replaced under keepalived, and reopened by the cure", []step{{0, self, true, nil, true, 0, "hears"}, {ms, self, false, nil, false, ms, ""},
			{time.Second + ms, self, false, nil, false, ms, "deaf"}, {time.Hour, self, false, nil, false, ms, ""}, {2 * time.Hour, self, true, nil, false, 0, "hears"}}},
		{"never opened, because its directory came later", []step{{0, self, false, nil, false, ms, ""}, {time.Second, self, false, nil, false, ms, "deaf"}}},
		{"another process writes it", []step{{0, self, false, nil, true, 0, ""}, {time.Second, self, false, nil, true, 0, "deaf"}}},
		{"descriptors that may not be looked at", []step{{0, self, false, refused, true, 0, "unsure: permission denied"}, {time.Hour, self, false, refused, true, 0, ""},
			{2 * time.Hour, self, true, nil, true, 0, "hears"}}},
		{"descriptors that may not be looked at, and nobody writes", []step{{0, self, false, refused, false, ms, ""}, {time.Second, self, false, refused, false, ms, "deaf"}}},
		{"VRRP process about to be started", []step{{0, Keepalived{Parent: os.Getpid()}, false, nil, false, ms, ""}, {time.Hour, Keepalived{Parent: os.Getpid()}, false, nil, false, ms, ""}}},
		{"keepalived that is not known has closed it", []step{{0, Keepalived{}, false, nil, true, 0, "unsure"}, {ms, Keepalived{}, false, nil, true, ms, ""},
			{2 * time.Second, Keepalived{}, false, nil, true, ms, ""}, {2*time.Second + ms, Keepalived{}, false, nil, true, ms, "ended"}, {time.Hour, Keepalived{}, false, nil, true, ms, ""},
			{2 * time.Hour, Keepalived{}, false, nil, true, 0, ""}, {3 * time.Hour, Keepalived{}, false, nil, true, 2*time.Hour + ms, "ended"}}},
		{"keepalived that is not known reloads", []step{{0, Keepalived{}, false, nil, true, 0, "unsure"}, {time.Second, Keepalived{}, false, nil, true, ms, ""}, {1900 * ms, Keepalived{}, false, nil, true, 0, ""}}},
		{"a line written by hand", []step{{0, Keepalived{}, false, nil, false, ms, "unsure"}, {time.Hour, Keepalived{}, false, nil, false, ms, ""}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			var now step
			got := ""
			e := &Ear{
				Keepalived: func() (Keepalived, bool) { return now.k, now.k.Parent != 0 },
				OpenIn:     func(int) (bool, error) { return now.open, now.err },
				Writing: func() (bool, time.Time) {
					if now.none == 0 {
						return now.stayed, time.Time{}
					}
					return now.stayed, start.Add(now.none)
				},
				Heard: func(h Hearing, k Keepalived, why error) {
					got += [...]string{"unsure", "hears", "deaf"}[h]
					if why != nil {
						got += fmt.Sprintf(": %v", why)
					}
				},
				Ended: func(time.Time) { got += "ended" },
			}
			for i, st := range row.steps {
				now, got = st, ""
				e.look(start.Add(st.after))
				if diff := cmp.Diff(st.want, got); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}
