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

// TestReadsLikeKeepalived gives every file of the corpus, and the samples
// that the distribution's package installs, to the installed keepalived.
func TestReadsLikeKeepalived(t *testing.T) {
	version := needKeepalived(t)
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("find the corpus: %d files, %v", len(files), err)
	}
	samples, err := filepath.Glob("/usr/share/doc/keepalived/samples/keepalived.conf*")
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) == 0 {
		t.Run("samples", func(t *testing.T) { t.Skip("the package is installed without its documentation") })
	}
	for _, file := range append(files, samples...) {
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".conf"), func(t *testing.T) {
			t.Parallel()
			diff, err := difference(path, version)
			undefined := strings.HasPrefix(filepath.Base(file), "undefined-")
			switch {
			case errors.Is(err, errNoIPVS):
				t.Skip(err)
			case undefined && errors.Is(err, errUndefined):
				return
			case undefined:
				t.Error("our reading does not say that keepalived's is undefined")
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff != "" {
				t.Errorf("keepalived (-) and we (+) read %s differently:\n%s", file, diff)
			}
		})
	}
}

// errNoIPVS says that keepalived could not run the file on this machine.
var errNoIPVS = errors.New("the file needs IPVS, which this kernel lacks")

// errUndefined says that keepalived would use memory that is not its own, or run
// for hours, so that its answer is meaningless.
var errUndefined = errors.New("keepalived's reading is undefined")

// difference compares keepalived's reading of a file with ours.
func difference(path, version string) (string, error) {
	ours, interfaces, err := ourAnswer(path, version)
	if err != nil {
		return "", err
	}
	if ours.Undefined {
		return "", errUndefined
	}
	theirs, err := askKeepalived(question{Path: path, Interfaces: interfaces})
	if err != nil {
		return "", err
	}
	if !theirs.Accepted && strings.Contains(theirs.Log, "Can't initialize ipvs") {
		return "", errNoIPVS
	}
	if strings.Contains(theirs.Log, "Starting BFD child") && !strings.Contains(theirs.Log, "Starting VRRP child") {
		// Where the instances of the file are incomplete, it is random whether
		// keepalived's BFD process goes on, and addresses do not depend on it.
		theirs.Accepted = ours.Accepted
	}
	if theirs.Consolidated != nil {
		if err := sameConsolidated(theirs.Consolidated, ours, version); err != nil {
			return "", err
		}
	}
	theirs.Consolidated, ours.Sum = nil, theirs.Sum
	ourLog, theirLog := ours.Log, theirs.Log
	ours.Log, theirs.Log = "", ""
	for n := range theirs.Instances {
		i := &theirs.Instances[n]
		i.Interface, _, _ = strings.Cut(i.Interface, ",") // "vrrp.5, vmac on eth0"
	}
	diff := cmp.Diff(theirs, ours)
	if diff != "" {
		data, _ := os.ReadFile(path)
		diff = fmt.Sprintf("%s\nour refusals:\n%s\nkeepalived's log:\n%s\nthe file:\n%s", diff, ourLog, theirLog, data)
	}
	return diff, nil
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
