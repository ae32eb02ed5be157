package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/internal/etcdtest"

	"golang.org/x/sys/unix"
)

// A run of berth leaves the files in the run directory that docs/files.md lists.
func TestFilesOfTheRunDirectoryAreThoseOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("docs/files.md")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		name *regexp.Regexp
		mode string
	}
	var rows []row
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (0\\d+) \\|").FindAllStringSubmatch(string(text), -1) {
		pattern := regexp.MustCompile("INSTANCE|MEMBER|PROVIDER|DIGEST").ReplaceAllString(regexp.QuoteMeta(m[1]), `[^/]+`)
		rows = append(rows, row{regexp.MustCompile("^" + pattern + "$"), m[2]})
	}
	h := newFencedHost(t, "h1", etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0], "")
	config := filepath.Join(h.dir, "berth.yml")
	berth, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	// The locks where they are by default.
	berth = regexp.MustCompile(`(?m)^lock-file-template: .*\n`).ReplaceAll(berth, nil)
	if err := os.WriteFile(config, berth, 0o600); err != nil {
		t.Fatal(err)
	}
	one := h.master("fifo")
	one.says(refreshed)
	h.untilRecorded() // of etcd's history: the last file that it writes
	one.signal(unix.SIGUSR2)
	_ = one.cmd.Wait()
	found := map[string]bool{}
	root := filepath.Join(h.dir, "run")
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, root+"/")
		info, err := d.Info()
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.name.MatchString(name) {
				found[r.name.String()] = true
				if mode := fmt.Sprintf("%04o", info.Mode().Perm()); mode != r.mode {
					t.Errorf("%s has mode %s, docs/files.md says %s", name, mode, r.mode)
				}
				return nil
			}
		}
		t.Errorf("%s is not in docs/files.md", name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 6 {
		t.Errorf("want at least six kinds of files, got %v", found)
	}
}
