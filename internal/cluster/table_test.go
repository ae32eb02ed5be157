package cluster_test

import (
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"berth/internal/cluster"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/view.txt")

func example(t testing.TB) cluster.View {
	t.Helper()
	text, err := os.ReadFile("testdata/view.json")
	if err != nil {
		t.Fatal(err)
	}
	var v cluster.View
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// print returns the table in UTC.
func print(t *testing.T, v cluster.View) string {
	t.Helper()
	local := time.Local
	defer func() { time.Local = local }()
	time.Local = time.UTC
	var b strings.Builder
	if err := v.Table(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheTableShowsAddressesMembersAndMoves(t *testing.T) {
	got := print(t, example(t))
	if *update {
		if err := os.WriteFile("testdata/view.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/view.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(line); n > 121 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// A reason that does not fit beside its row stands whole below it.
func TestALongReasonHasALineOfItsOwn(t *testing.T) {
	v := example(t)
	v.Addresses = v.Addresses[:1]
	v.Addresses[0].Reason = strings.Repeat("the provider refuses ", 10)
	if got := print(t, v); !strings.Contains(got, "node2\n    "+v.Addresses[0].Reason+"\n") {
		t.Errorf("got:\n%s", got)
	}
}

func TestTheTableSaysWhatIsNotKnownAndNeverANegativeTime(t *testing.T) {
	v := example(t)
	v.Now = v.Members[1].Since.Add(-time.Hour) // the clocks of the others are ahead
	v.Etcd.Reachable, v.Etcd.Reason, v.Note = false, "connection refused", "the rest is as last known"
	got := print(t, v)
	for _, want := range []string{"\netcd cannot be reached since 2026-11-29 20:00:00: connection refused\n", "\nthe rest is as last known\n", "as last known; BACKUP here"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if regexp.MustCompile(` -[0-9]`).MatchString(got) {
		t.Errorf("a negative time in:\n%s", got)
	}
	if got := print(t, cluster.View{Prefix: "/berth/", Etcd: cluster.EtcdView{Reachable: true}}); got != "no member and no address is below /berth/ in etcd\n" {
		t.Errorf("got %q", got)
	}
}
