package presence

import (
	"testing"
	"time"
)

func TestObservation(t *testing.T) {
	start := time.Unix(0, 0)
	type step struct {
		after   time.Duration
		present bool
		want    change
	}
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"never seen is never suspended", []step{{0, false, none}, {time.Hour, false, none}, {2 * time.Hour, false, none}}},
		{"seen and gone for a second", []step{{0, true, none}, {time.Second, false, none}, {2 * time.Second, false, suspend}, {time.Hour, false, none}}},
		{"back within the second", []step{{0, true, none}, {time.Second, false, none}, {1900 * time.Millisecond, true, none}, {time.Hour, false, none}, {time.Hour + 999*time.Millisecond, false, none}}},
		{"back after it", []step{{0, true, none}, {1, false, none}, {time.Second + 1, false, suspend}, {time.Hour, true, resume}, {time.Hour + 1, true, none}}},
		{"gone twice", []step{{0, true, none}, {1, false, none}, {time.Second + 1, false, suspend}, {time.Hour, true, resume}, {time.Hour + 1, false, none}, {time.Hour + time.Second + 1, false, suspend}}},
	} {
		var o observation
		for i, st := range row.steps {
			var got change
			if o, got = o.next(st.present, start.Add(st.after)); got != st.want {
				t.Errorf("%s, step %d: %v, want %v", row.name, i, got, st.want)
			}
		}
	}
}
