package metrics_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/internal/metrics"
)

func text(t *testing.T, r *metrics.Registry) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTextForm(t *testing.T) {
	r := &metrics.Registry{}
	calls := r.Counter("calls_total", "Calls, with a \\ and\na second line.", "name", "class")
	calls.Add(0, "b", "ok")
	calls.Add(2, "a", "ok")
	calls.Add(0.5, "a", "ok")
	calls.Add(1, "quote \" slash \\ line \n byte \xff", "ok")
	r.Gauge("alone", "Has no labels.").Set(1.75e9)
	r.Gauge("never", "Has no series.", "name")
	gone := r.Gauge("gone", "One of two is left.", "name")
	gone.Set(1, "stays")
	gone.Set(1, "goes")
	gone.Delete("goes")
	took := r.Histogram("took_seconds", "Time.", []float64{0.1, 1}, "op")
	for _, v := range []float64{0.05, 0.1, 0.25, 8} { // a bound belongs to the bucket below it
		took.Observe(v, "x")
	}
	want := `# HELP calls_total Calls, with a \\ and\na second line.
# TYPE calls_total counter
calls_total{name="a",class="ok"} 2.5
calls_total{name="b",class="ok"} 0
calls_total{name="quote \" slash \\ line \n byte �",class="ok"} 1
# HELP alone Has no labels.
# TYPE alone gauge
alone 1.75e+09
# HELP gone One of two is left.
# TYPE gone gauge
gone{name="stays"} 1
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{op="x",le="0.1"} 2
took_seconds_bucket{op="x",le="1"} 3
took_seconds_bucket{op="x",le="+Inf"} 4
took_seconds_sum{op="x"} 8.4
took_seconds_count{op="x"} 4
`
	if d := cmp.Diff(want, text(t, r)); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
}

func TestNamesThatTheFormCannotTellApartAreOneSeries(t *testing.T) {
	r := &metrics.Registry{}
	g := r.Gauge("g", "Help.", "name")
	g.Set(1, "a\xfe")
	g.Set(2, "a\xff")
	if got := strings.Count(text(t, r), "g{"); got != 1 {
		t.Errorf("want one line, got %d:\n%s", got, text(t, r))
	}
}

func TestWithoutARegistryNothingIsCounted(t *testing.T) {
	var r *metrics.Registry
	r.Counter("c", "").Add(1)
	g := r.Gauge("g", "")
	g.Set(1)
	g.Delete()
	r.Histogram("h", "", []float64{1}).Observe(1)
}
