package app

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/metrics"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
)

func TestREADMEListsTheMetrics(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	r := &metrics.Registry{}
	newMeters(r)
	for _, f := range r.Families() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", f.Name, f.Kind, strings.Join(f.Labels, ", "), strings.TrimSuffix(f.Help, ".")))
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `berth_") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("metrics (-declared +README.md):\n%s", d)
	}
}

// series returns the lines that a metric has.
func (w *world) series(t *testing.T, name string) []string {
	t.Helper()
	var text strings.Builder
	if err := w.count.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^`+name+`\b.*$`).FindAllString(text.String(), -1)
}

func TestMetricsOfATakeoverATheftAndADemotion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "")
		defer w.stop()
		want := func(name string, lines ...string) {
			t.Helper()
			for i := range lines {
				lines[i] = name + lines[i]
			}
			if d := cmp.Diff(lines, w.series(t, name)); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
		const labels = `{instance="VI_0",address="192.0.2.0/24"} `
		gate := w.sim.Gate("PATCH", "/")
		w.send(vrrp.Master, "VI_0")
		if _, err := gate.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want("berth_last_success_timestamp_seconds", labels+"0")
		gate.Release()
		synctest.Wait()
		want("berth_last_success_timestamp_seconds", fmt.Sprintf("%s%s", labels, number(time.Now())))
		want("berth_claims_total", labels+"1")
		want("berth_thefts_total", labels+"0")

		time.Sleep(time.Minute)
		if err := w.sim.Give(ipOf(0), rival); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want("berth_claims_total", labels+"2")
		want("berth_thefts_total", labels+"1")
		want("berth_contested", labels+"0")
		patches := `{provider="cloudscale",operation="point floating IP",class=`
		for _, line := range []string{patches + `"ok"} 2`, patches + `"transient"} 0`} {
			if got := strings.Join(w.series(t, "berth_provider_requests_total"), "\n"); !strings.Contains(got, line) {
				t.Errorf("want a line with %s, got:\n%s", line, got)
			}
		}

		w.send(vrrp.Backup, "VI_0")
		synctest.Wait()
		want("berth_last_success_timestamp_seconds")
		want("berth_contested")
		want("berth_thefts_total", labels+"1")
	})
}

// number is the time as the metrics show it.
func number(at time.Time) string {
	return fmt.Sprint(float64(at.UnixMilli()) / 1000)
}

func TestEventsOfAServiceAreCountedFromTheFirst(t *testing.T) {
	o := &Options{Getenv: func(string) string { return "" }, Stderr: io.Discard}
	m := o.count()
	o.Journal().Tell(upgradeRefused)
	if o.count() != m {
		t.Error("want the metrics of the process, once")
	}
	var text strings.Builder
	if err := m.registry.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`berth_events_total{code="upgrade-refused"} 1`, `berth_events_total{code="upgrade-impossible"} 0`, `berth_condition{code="status-unwritable"} 0`} {
		if !strings.Contains(text.String(), want+"\n") {
			t.Errorf("want %s, got:\n%s", want, &text)
		}
	}
}
