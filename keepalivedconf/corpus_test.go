package keepalivedconf_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/keepalivedconf"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the .want files of testdata anew")

// corpusVersion is the keepalived whose reading the .want files have.
const corpusVersion = "2.2.7"

// TestCorpus compares our reading of every file of the corpus with the .want
// file beside it. TestReadsLikeKeepalived checks that the instances there are those
// of keepalived; this test shows changes, and runs without keepalived.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.conf")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 150 {
		t.Fatalf("the corpus has %d files, want at least 150", len(files))
	}
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".conf")
		t.Run(name, func(t *testing.T) {
			c, err := keepalivedconf.ParseFile(file, keepalivedconf.Options{ConfigID: "oracle-host", Version: corpusVersion})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(describe(c), dir+"/", "")
			got = strings.ReplaceAll(got, dir, ".")
			wantFile := strings.TrimSuffix(file, ".conf") + ".want"
			if *update {
				if err := os.WriteFile(wantFile, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(wantFile)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("reading of %s (-want +got):\n%s", file, diff)
			}
			if refusal := strings.HasPrefix(name, "refuse-"); refusal && !c.Refused {
				t.Errorf("Refused = false, want true for a file of this name")
			}
		})
	}
}

// describe renders a configuration for people.
func describe(c *keepalivedconf.Config) string {
	var b strings.Builder
	for _, i := range c.Instances {
		fmt.Fprintf(&b, "%s:%d: instance %q interface %q vrid %d IPv%d version %d %s priority %d every %v",
			i.File, i.Line, i.Name, i.Interface, i.VRID, i.Family, i.Version, i.State, i.Priority, i.AdvertInterval)
		if i.NoPreempt {
			b.WriteString(" nopreempt")
		}
		if i.VMAC != "" {
			fmt.Fprintf(&b, " vmac %s", i.VMAC)
		}
		if i.Notify {
			b.WriteString(" notify")
		}
		b.WriteString("\n")
		for _, p := range i.Peers {
			fmt.Fprintf(&b, "    peer %v\n", p)
		}
		for _, ip := range i.Addresses {
			fmt.Fprintf(&b, "    address %v %s\n", ip.Prefix, ip.Device)
		}
		for _, ip := range i.Excluded {
			fmt.Fprintf(&b, "    excluded %v %s\n", ip.Prefix, ip.Device)
		}
	}
	for _, g := range c.Groups {
		fmt.Fprintf(&b, "%s:%d: group %q notify %v members %q\n", g.File, g.Line, g.Name, g.Notify, g.Members)
	}
	for _, m := range c.Refusals {
		fmt.Fprintf(&b, "%s:%d: refused: %s\n", m.File, m.Line, m.Message)
	}
	for _, m := range c.Warnings {
		fmt.Fprintf(&b, "%s:%d: warning: %s\n", m.File, m.Line, m.Message)
	}
	for _, f := range c.Files {
		fmt.Fprintf(&b, "file %s\n", f)
	}
	for _, d := range c.Dirs {
		fmt.Fprintf(&b, "dir %s\n", d)
	}
	return strings.ReplaceAll(b.String(), " \n", "\n")
}
