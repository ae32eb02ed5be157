package rundir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/internal/rundir"

	"github.com/google/go-cmp/cmp"
)

// table returns the list of the package comment: what it says of each file.
func table(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for _, path := range []string{"rundir.go", "state.go"} {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^//   - (\S+) (.*)$`).FindAllStringSubmatch(string(source), -1) {
			rows[m[1]] = m[2]
		}
	}
	return rows
}

func TestTheDocumentHasTheTableOfThePackage(t *testing.T) {
	text, err := os.ReadFile("../../docs/files.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 5 {
			t.Errorf("want 5 cells, got %q", line)
			continue
		}
		got[strings.Trim(cells[0], "`")] = fmt.Sprintf("(%s): %s. Written by %s. Without it %s.", cells[1], cells[2], cells[3], cells[4])
	}
	if d := cmp.Diff(table(t), got); d != "" {
		t.Errorf("files (-package comment +docs/files.md):\n%s", d)
	}
}

func TestEachFileIsInTheTable(t *testing.T) {
	d := rundir.Dir("/run/berth")
	var got []string
	for _, path := range []string{
		filepath.Join(d.Status(), "INSTANCE.json"),
		strings.Replace(d.LockFileTemplate(), "%s", "INSTANCE", 1),
		strings.Replace(d.LockFileTemplate(), "%s", "INSTANCE", 1) + ".owner",
		d.Names(), d.Peers("GROUP"), d.KeepalivedVersion(), d.KeepalivedConf(), d.Identity(),
		strings.Replace(d.ProviderIDs("PROVIDER", []byte{0xab}), "ab", "DIGEST", 1),
		d.Lease("MEMBER"), d.MemberLock("MEMBER"), d.History("MEMBER"), d.Bound("MEMBER"), d.Pool("MEMBER"), d.Added("MEMBER"),
		d.FollowerLock("URL"), d.FollowerBound("URL"), rundir.StateDir(d).Counters("LISTEN"),
	} {
		got = append(got, strings.TrimPrefix(path, "/run/berth/"))
	}
	slices.Sort(got)
	var want []string
	for name := range table(t) {
		want = append(want, name)
	}
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("files (-package comment +methods):\n%s", d)
	}
}

func TestAPercentInThePathOfTheRunDirectoryStays(t *testing.T) {
	if got := rundir.Dir("/a%s").LockFileTemplate(); got != "/a%s/lock/%s.lock" {
		t.Errorf("got %s", got)
	}
}
