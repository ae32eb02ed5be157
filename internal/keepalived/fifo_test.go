package keepalived

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFIFOMonitor(t *testing.T) {
	refused := errors.New("permission denied")
	// A process that has no children of keepalived's kind.
	self := Processes{Parent: os.Getpid(), VRRP: os.Getpid()}
	type step struct {
		after  time.Duration
		k      Processes // zero: not known
		open   bool
		err    error
		stayed bool
		none   time.Duration // since when no process writes, after the start; 0: one does
		want   string
	}
	const ms = time.Millisecond
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"open", []step{{0, self, true, nil, false, 0, "open"}, {time.Hour, self, true, nil, true, 0, ""}}},
		{"closed and opened by a reload", []step{{0, self, true, nil, true, 0, "open"}, {ms, self, false, nil, true, ms, ""},
			{900 * ms, self, false, nil, true, ms, ""}, {time.Second, self, true, nil, true, 0, ""}, {2 * time.Second, self, false, nil, true, 2 * time.Second, ""}}},
		{"replaced under keepalived, and reopened by the cure", []step{{0, self, true, nil, true, 0, "open"}, {ms, self, false, nil, false, ms, ""},
			{time.Second + ms, self, false, nil, false, ms, "not open"}, {time.Hour, self, false, nil, false, ms, ""}, {2 * time.Hour, self, true, nil, false, 0, "open"}}},
		{"never opened, because its directory came later", []step{{0, self, false, nil, false, ms, ""}, {time.Second, self, false, nil, false, ms, "not open"}}},
		{"another process writes it", []step{{0, self, false, nil, true, 0, ""}, {time.Second, self, false, nil, true, 0, "not open"}}},
		{"descriptors that may not be read", []step{{0, self, false, refused, true, 0, "unknown: permission denied"}, {time.Hour, self, false, refused, true, 0, ""},
			{2 * time.Hour, self, true, nil, true, 0, "open"}}},
		{"descriptors that may not be read, and no process writes", []step{{0, self, false, refused, false, ms, ""}, {time.Second, self, false, refused, false, ms, "not open"}}},
		{"VRRP process about to be started", []step{{0, Processes{Parent: os.Getpid()}, false, nil, false, ms, ""}, {time.Hour, Processes{Parent: os.Getpid()}, false, nil, false, ms, ""}}},
		{"keepalived that is not known has closed it", []step{{0, Processes{}, false, nil, true, 0, "unknown"}, {ms, Processes{}, false, nil, true, ms, ""},
			{2 * time.Second, Processes{}, false, nil, true, ms, ""}, {2*time.Second + ms, Processes{}, false, nil, true, ms, "ended"}, {time.Hour, Processes{}, false, nil, true, ms, ""},
			{2 * time.Hour, Processes{}, false, nil, true, 0, ""}, {3 * time.Hour, Processes{}, false, nil, true, 2*time.Hour + ms, "ended"}}},
		{"keepalived that is not known reloads", []step{{0, Processes{}, false, nil, true, 0, "unknown"}, {time.Second, Processes{}, false, nil, true, ms, ""}, {1900 * ms, Processes{}, false, nil, true, 0, ""}}},
		{"a line written by hand", []step{{0, Processes{}, false, nil, false, ms, "unknown"}, {time.Hour, Processes{}, false, nil, false, ms, ""}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			var now step
			got := ""
			m := &FIFOMonitor{
				Current: func() (Processes, error) {
					if now.k.Parent == 0 {
						return now.k, errNotWatched
					}
					return now.k, nil
				},
				OpenIn: func(int) (bool, error) { return now.open, now.err },
				Writing: func() (bool, time.Time) {
					if now.none == 0 {
						return now.stayed, time.Time{}
					}
					return now.stayed, start.Add(now.none)
				},
				Changed: func(s FIFOState, k Processes, why error) {
					got += [...]string{"unknown", "open", "not open"}[s]
					if why != nil {
						got += fmt.Sprintf(": %v", why)
					}
				},
				Ended: func(time.Time) { got += "ended" },
			}
			for i, st := range row.steps {
				now, got = st, ""
				m.compare(start.Add(st.after))
				if diff := cmp.Diff(st.want, got); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}
