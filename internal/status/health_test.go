package status_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/status"
	"berth/vrrp"
)

func TestHealthOfTheInstances(t *testing.T) {
	dir := t.TempDir()
	b := status.NewBoard(dir, status.Instance{PID: 7, Prefix: "/berth/", Member: "h"}, journal.New(nil))
	since := time.Now().Add(-time.Minute)
	b.State("db", status.State{State: vrrp.Fault, Reason: "primary: timed out after 1s"})
	b.Health([]string{"db"}, status.Health{Check: "primary", Reason: "timed out after 1s", Since: since})
	b.Health(nil, status.Health{Check: "disk", Healthy: true, Since: since})
	b.Health([]string{"web"}, status.Health{Check: "tcp 127.0.0.1:80", Reason: "not checked yet", Since: since})
	b.State("web", status.State{State: vrrp.Backup})
	b.Health([]string{"web"}, status.Health{Check: "tcp 127.0.0.1:80", Healthy: true, Since: since})
	for _, name := range []string{"a", "b"} {
		b.State(name, status.State{State: vrrp.Backup})
	}
	b.Flush()
	all, err := status.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range all {
		for _, h := range in.Health {
			got = append(got, in.Instance+" "+h.Check+" "+h.Reason)
		}
	}
	want := []string{"a disk ", "b disk ", "db primary timed out after 1s", "db disk ", "web disk ", "web tcp 127.0.0.1:80 "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var out bytes.Buffer
	if err := status.Table(&out, all, since.Add(time.Minute), func(status.Instance) bool { return true }); err != nil {
		t.Fatal(err)
	}
	_, checks, _ := strings.Cut(out.String(), "\n\n")
	wantTable := `CHECK             HEALTH     SINCE    INSTANCES               REASON
disk              healthy    1m0s ago  a, b, db and 1 more  -
primary           unhealthy  1m0s ago  db                   timed out after 1s
tcp 127.0.0.1:80  healthy    1m0s ago  web                  -
`
	if strings.Join(strings.Fields(checks), " ") != strings.Join(strings.Fields(wantTable), " ") {
		t.Errorf("got\n%s\nwant\n%s", checks, wantTable)
	}

	// A successor goes on with what was healthy.
	if got, want := status.HealthyOf(dir, "/berth/", "h"), []string{"disk", "tcp 127.0.0.1:80"}; !slices.Equal(slices.Compact(slices.Sorted(slices.Values(got))), want) {
		t.Errorf("healthy: got %q, want %q", got, want)
	}
	if got := status.HealthyOf(dir, "/other/", "h"); len(got) != 0 {
		t.Errorf("healthy of another election: got %q", got)
	}
	// A file that another user can have made tells nothing.
	files, err := filepath.Glob(filepath.Join(dir, "status", "*.json"))
	if err != nil || len(files) != 4 {
		t.Fatalf("got %q, %v", files, err)
	}
	for i, f := range files {
		if err := os.Link(f, filepath.Join(dir, "link"+string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	if got := status.HealthyOf(dir, "/berth/", "h"); len(got) != 0 {
		t.Errorf("healthy of files with two names: got %q", got)
	}
}
