package keepalivedconf_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// This file keeps what the keepalived of each distribution has made of each hand-written
// file beside it, in a file that ends with .recorded, so that our reading as each version
// is tested without these.

var recording = flag.Bool("record", false, "write the .recorded files of testdata anew")

// recordedVersions are those of which each hand-written file has a record.
var recordedVersions = []string{"2.1.5", "2.2.7", "2.3.3", "2.3.4"}

// outcome is what has become of a file, in lines: whether it is accepted, and then the
// instances with their addresses and the sync groups.
type outcome string

const (
	refused  outcome = "refused\n"
	crashed  outcome = "crashed\n"
	silent   outcome = "no answer\n"
	notAsked outcome = "not asked, because keepalived may read for hours\n"
	noIPVS   outcome = "not known: the machine lacked IPVS\n"
	// chance: where the instances of the file are incomplete, it is random whether
	// keepalived's BFD process goes on, and addresses do not depend on it.
	chance outcome = "accepted or refused\n"
)

// outcomeOf brings an answer into the form that is compared and recorded.
func outcomeOf(a answer) outcome {
	switch {
	case strings.Contains(a.Log, "Starting BFD child") && !strings.Contains(a.Log, "Starting VRRP child"):
		return chance
	case a.Crashed:
		return crashed
	case !a.Accepted && strings.Contains(a.Log, "Can't initialize ipvs"):
		return noIPVS
	case !a.Accepted:
		return refused
	}
	var b strings.Builder
	b.WriteString("accepted\n")
	for _, i := range a.Instances {
		name, _, _ := strings.Cut(i.Interface, ",") // "vrrp.5, vmac on eth0"
		fmt.Fprintf(&b, "instance %q interface %q vrid %d version %d priority %d every %v", i.Name, name, i.VRID, i.Version, i.Priority, i.Interval)
		if !i.Preempt {
			b.WriteString(" nopreempt")
		}
		b.WriteString("\n")
		for _, list := range []struct {
			word  string
			items []string
		}{{"peer", i.Peers}, {"address", i.Addresses}, {"excluded", i.Excluded}} {
			for _, item := range list.items {
				fmt.Fprintf(&b, "\t%s %s\n", list.word, item)
			}
		}
	}
	for _, g := range a.Groups {
		fmt.Fprintf(&b, "group %q members %q\n", g.Name, g.Members)
	}
	return outcome(strings.ReplaceAll(b.String(), testdata(), "TESTDATA"))
}

// testdata returns the directory of the hand-written files, which _PWD puts into a name.
func testdata() string {
	dir, err := filepath.Abs("testdata")
	if err != nil {
		panic(err)
	}
	return dir
}

// satisfies reports whether our outcome is keepalived's. A file with which it crashes has
// to be refused.
func (o outcome) satisfies(theirs outcome) bool {
	return o == theirs || theirs == crashed && o == refused || theirs == chance
}

// records are what keepalived has made of a file, by version.
type records struct {
	input    string // identifies the text of the file
	outcomes map[string]outcome
}

func recordPath(conf string) string { return strings.TrimSuffix(conf, ".conf") + ".recorded" }

// record writes one outcome into the file of its records. Those of another text go. A record
// that our reading satisfies stays: where memory decides, keepalived may crash or not.
func record(conf, version string, c comparison) error {
	input, err := inputOf(conf)
	if err != nil {
		return err
	}
	r, err := readRecords(recordPath(conf))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.input != input {
		r = records{input: input, outcomes: map[string]outcome{}}
	}
	if former, ok := r.outcomes[version]; ok && (c.ours == "" || c.ours.satisfies(former)) {
		return nil
	}
	r.outcomes[version] = c.theirs
	return os.WriteFile(recordPath(conf), r.text(), 0o600)
}

// text writes each outcome once, below the versions that have it.
func (r records) text() []byte {
	versions := map[outcome][]string{}
	for _, v := range slices.Sorted(maps.Keys(r.outcomes)) {
		versions[r.outcomes[v]] = append(versions[r.outcomes[v]], v)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# written by make versions from the file %s\n", r.input)
	for _, o := range slices.SortedFunc(maps.Keys(versions), func(a, b outcome) int { return strings.Compare(versions[a][0], versions[b][0]) }) {
		fmt.Fprintf(&b, "keepalived %s: %s", strings.Join(versions[o], " "), o)
	}
	return b.Bytes()
}

func readRecords(path string) (records, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return records{}, err
	}
	r := records{outcomes: map[string]outcome{}}
	head, rest, _ := strings.Cut(string(text), "\n")
	r.input = head[strings.LastIndexByte(head, ' ')+1:]
	for part := range strings.SplitSeq("\n"+rest, "\nkeepalived ") {
		versions, o, ok := strings.Cut(part, ": ")
		if !ok {
			continue
		}
		for _, v := range strings.Fields(versions) {
			r.outcomes[v] = outcome(strings.TrimSuffix(o, "\n") + "\n")
		}
	}
	return r, nil
}

// inputOf identifies the text of a file, and of all that it might include.
func inputOf(conf string) (string, error) {
	text, err := os.ReadFile(conf)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	sum.Write(text)
	if bytes.Contains(text, []byte("include")) {
		dir := filepath.Join(filepath.Dir(conf), "include")
		if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			fmt.Fprintf(sum, "%s\x00%s\x00", strings.TrimPrefix(path, dir), text)
			return err
		}); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:8]), nil
}

// TestReadsAsRecorded compares our reading of each hand-written file, as each version,
// with what keepalived of that version has made of it.
func TestReadsAsRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	const cure = "run make versions RANDOM_FILES=0 ETCD_TESTS= as root, and commit the .recorded files"
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".conf")
		t.Run(name, func(t *testing.T) {
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			input, err := inputOf(path)
			if err != nil {
				t.Fatal(err)
			}
			r, err := readRecords(recordPath(path))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				t.Fatalf("it is not recorded what keepalived makes of %s; %s", file, cure)
			case err != nil:
				t.Fatal(err)
			case r.input != input:
				t.Fatalf("%s, or a file that it includes, has changed since it was recorded what keepalived makes of it; %s", file, cure)
			}
			for _, v := range recordedVersions {
				if _, ok := r.outcomes[v]; !ok {
					t.Errorf("it is not recorded what keepalived %s makes of %s; %s", v, file, cure)
				}
			}
			for v, theirs := range r.outcomes {
				ours, _, err := ourAnswer(path, v)
				if err != nil {
					t.Fatal(err)
				}
				got := outcomeOf(ours)
				if !ours.Undefined && theirs != noIPVS && !got.satisfies(theirs) {
					t.Errorf("keepalived %s (-) and we (+) read %s differently:\n%s\nour refusals:\n%s", v, file, cmp.Diff(string(theirs), string(got)), ours.Log)
				}
			}
		})
	}
}
