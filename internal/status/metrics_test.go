package status_test

import (
	"strings"
	"testing"

	"berth/internal/journal"
	"berth/internal/metrics"
	"berth/internal/status"
	"berth/vrrp"
)

func TestMetricsShowTheStatesAndCountTheCorrections(t *testing.T) {
	r := &metrics.Registry{}
	m := status.NewMetrics(r)
	b := status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil))
	m.Watch(b)
	const master, corrected = `berth_instance_master{instance="VI_1"} `, `berth_corrections_total{instance="VI_1"} `
	for _, step := range []struct {
		name              string
		put               func()
		master, corrected string
	}{
		{"no state is known", func() { b.Group("VI_1", "g") }, "", ""},
		{"MASTER", func() { b.State("VI_1", status.State{State: vrrp.Master}) }, "1", "0"},
		{"an address has gone", func() { b.Corrected("VI_1", "address is gone") }, "1", "1"},
		{"and is back", func() { b.Corrected("VI_1", "address is back"); b.Blocked("VI_1", "") }, "1", "2"},
		{"FAULT", func() { b.State("VI_1", status.State{State: vrrp.Fault}) }, "0", "2"},
		{"a reload: another board", func() {
			b = status.NewBoard(t.TempDir(), status.Instance{}, journal.New(nil))
			m.Watch(b)
			b.State("VI_1", status.State{State: vrrp.Master})
			b.Corrected("VI_1", "found bound")
		}, "1", "3"},
		{"deleted", func() { b.State("VI_1", status.State{State: vrrp.Deleted}) }, "", "3"},
	} {
		step.put()
		var text strings.Builder
		if err := r.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		for series, want := range map[string]string{master: step.master, corrected: step.corrected} {
			_, got, _ := strings.Cut(text.String(), series)
			if got, _, _ := strings.Cut(got, "\n"); got != want {
				t.Errorf("%s: %sgot %q, want %q", step.name, series, got, want)
			}
		}
	}
	var none *status.Metrics
	none.Watch(b)
}
