package keepalivedconf_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/keepalivedconf"

	"github.com/google/go-cmp/cmp"
)

// TestReadsLikeKeepalived gives every hand-written file, and the samples that the
// distribution's package installs, to keepalived: to the installed one, or, with make
// versions, to that of each distribution, whose answers are then recorded.
// BERTH_CONFS=DIR gives it the files *.conf of a directory as well.
func TestReadsLikeKeepalived(t *testing.T) {
	for _, d := range needDaemons(t) {
		given := ""
		if dir := os.Getenv("BERTH_CONFS"); dir != "" {
			given = filepath.Join(dir, "*.conf")
		}
		t.Run(d.Version, func(t *testing.T) {
			for kind, pattern := range map[string]string{
				"hand-written": "testdata/*.conf",
				"samples":      d.Tree + "/usr/share/doc/keepalived/samples/keepalived.conf*",
				"given":        given,
			} {
				files, err := filepath.Glob(pattern)
				if err != nil {
					t.Fatal(err)
				}
				if len(files) == 0 && pattern != "" {
					t.Run(kind, func(t *testing.T) { t.Skipf("there are no files %s", pattern) })
				}
				for _, file := range files {
					t.Run(strings.TrimSuffix(filepath.Base(file), ".conf"), func(t *testing.T) {
						t.Parallel()
						compareFile(t, d, kind, file)
					})
				}
			}
		})
	}
}

func compareFile(t *testing.T, d daemon, kind, file string) {
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := compare(path, d)
	if err != nil {
		compared.count(d.Version, kind, differs)
		t.Fatal(err)
	}
	compared.count(d.Version, kind, c.result)
	if *recording && kind == "hand-written" {
		if err := record(path, d.Version, c); err != nil {
			t.Error(err)
		}
	}
	undefined := c.result == undefined || c.result == survived
	switch {
	case c.result == impossible:
		t.Skip("the file needs IPVS, which this kernel lacks")
	case c.result == differs:
		t.Errorf("keepalived %s (-) and we (+) read %s differently:\n%s", d.Version, file, c.diff)
	case strings.HasPrefix(filepath.Base(file), "undefined-") && d.Version == corpusVersion && !undefined:
		t.Error("our reading does not say that keepalived's is undefined")
	}
}

// comparison is a file as keepalived and as we read it.
type comparison struct {
	result result
	theirs outcome
	ours   outcome // empty where keepalived's reading is undefined
	diff   string  // of those that differ
}

// compare gives a file to keepalived and to our reading.
func compare(path string, d daemon) (comparison, error) {
	ours, interfaces, err := ourAnswer(path, d.Version)
	if err != nil {
		return comparison{}, err
	}
	if ours.Endless {
		return comparison{result: undefined, theirs: notAsked}, nil
	}
	theirs, err := askKeepalived(question{Daemon: d, Path: path, Interfaces: interfaces})
	if ours.Undefined && errors.Is(err, errSilent) {
		return comparison{result: undefined, theirs: silent}, nil
	}
	if err != nil {
		return comparison{}, err
	}
	c := comparison{theirs: outcomeOf(theirs)}
	switch {
	case c.theirs == noIPVS:
		c.result = impossible
	case ours.Undefined && (theirs.Crashed || !theirs.Accepted):
		c.result = undefined
	case ours.Undefined:
		c.result = survived
	}
	if c.result != agrees {
		return c, nil
	}
	want, got := c.theirs, outcomeOf(ours)
	c.ours = got
	switch {
	case !got.satisfies(want):
		c.result = differs
		data, _ := os.ReadFile(path)
		c.diff = fmt.Sprintf("%s\nour refusals:\n%s\nkeepalived's log:\n%s\nthe file:\n%s", cmp.Diff(string(want), string(got)), ours.Log, theirs.Log, data)
	case theirs.Consolidated != nil:
		if err := sameConsolidated(theirs.Consolidated, ours, d.Version); err != nil {
			c.result, c.diff = differs, err.Error()
		}
	}
	return c, nil
}

// sameConsolidated compares the text that a running keepalived has with what our
// reading of the files has left, and the reading of both.
func sameConsolidated(text []byte, ours answer, version string) error {
	c, err := keepalivedconf.ParseConsolidated(text, keepalivedconf.Options{ConfigID: configID, Version: version})
	if err != nil {
		return fmt.Errorf("%w:\n%q", err, text)
	}
	if c.Sum != ours.Sum {
		return fmt.Errorf("keepalived's consolidated configuration is not what we read:\n%q", text)
	}
	diff := cmp.Diff(ours.Instances, seenIn(c))
	if diff != "" {
		return fmt.Errorf("the files (-) and what keepalived has of them (+) give different instances:\n%s\n%q", diff, text)
	}
	return nil
}
