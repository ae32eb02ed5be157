package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/metrics"
	"berth/internal/reading"
	"berth/keepalivedconf"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestDeafnessIsToldWithItsCureAndItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keepalived.conf")
	if err := os.WriteFile(path, []byte("global_defs {\n script_user root\n vrrp_notify_fifo /run/f\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, fifo, cure string }{
		{"a FIFO that keepalived.conf names", "/run/f", "keepalived -t -f " + path + " && kill -HUP 7"},
		{"one that it does not name", "/run/g", "add vrrp_notify_fifo /run/g to global_defs in " + path + ", and then keepalived -t -f " + path + " && kill -HUP 7"},
	} {
		t.Run(row.name, func(t *testing.T) {
			book := &reading.Book{Path: path}
			core, logs := observer.New(zap.InfoLevel)
			open := map[string]bool{} // IDs of conditions
			count := &metrics.Registry{}
			changes := 0
			d := NewDeafness(row.fifo, func() (string, *keepalivedconf.Config) {
				reading, _ := book.Reading()
				return path, reading
			}, func() { changes++ }, NewMetrics(count), journal.New(zap.New(core), func(e journal.Event) {
				if delete(open, e.ID); e.Lasts && !e.Over {
					open[e.ID] = true
				}
			}))
			k := keepalived.Processes{Parent: 7, VRRP: 8}
			gauge := func(want string) {
				t.Helper()
				var text strings.Builder
				if err := count.WriteText(&text); err != nil {
					t.Fatal(err)
				}
				got := ""
				for line := range strings.Lines(text.String()) {
					if value, ok := strings.CutPrefix(line, "berth_fifo_deaf "); ok {
						got = strings.TrimSpace(value)
					}
				}
				if got != want {
					t.Errorf("berth_fifo_deaf is %q, want %q", got, want)
				}
			}
			last := func(level zapcore.Level, cure string) {
				t.Helper()
				all := logs.TakeAll()
				if len(all) != 1 || all[0].Level != level {
					t.Fatalf("logged %+v, want one line of level %v", all, level)
				}
				if got, _ := all[0].ContextMap()["cure"].(string); got != cure {
					t.Errorf("the cure is %q, want %q", got, cure)
				}
			}
			d.Tell(keepalived.FIFOUnknown, keepalived.Processes{}, nil) // none runs yet
			if n := logs.Len(); n != 0 {
				t.Errorf("%d lines about a keepalived that does not run yet", n)
			}
			gauge("")
			d.Tell(keepalived.FIFONotOpen, k, nil)
			gauge("1")
			if !strings.Contains(d.Why(), row.cure) {
				t.Errorf("the status is to say %q, want the cure %q", d.Why(), row.cure)
			}
			all := logs.FilterLevelExact(zap.ErrorLevel).TakeAll()
			if len(all) != 1 || all[0].ContextMap()["cure"] != row.cure {
				t.Errorf("logged %+v, want one error with the cure %q", all, row.cure)
			}
			logs.TakeAll()
			d.Tell(keepalived.FIFOOpen, k, nil)
			last(zap.InfoLevel, "")
			gauge("0")
			if d.Why() != "" || changes != 3 {
				t.Errorf("want events alone after that, got %q and %d changes", d.Why(), changes)
			}
			d.Tell(keepalived.FIFOUnknown, k, os.ErrPermission)
			last(zap.WarnLevel, "")
			gauge("")
			// The keepalived that did not have it open ends, and another one opens it.
			d.Tell(keepalived.FIFONotOpen, k, nil)
			logs.TakeAll()
			d.Tell(keepalived.FIFOUnknown, keepalived.Processes{}, nil)
			last(zap.InfoLevel, "")
			if len(open) != 0 {
				t.Error("a condition holds of a keepalived that is not seen any more")
			}
			d.Tell(keepalived.FIFOOpen, k, nil)
			if n := logs.Len(); n != 0 {
				t.Errorf("%d lines about a keepalived that has it open from its start", n)
			}
		})
	}
}
