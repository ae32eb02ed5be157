package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"berth/internal/app"
)

// The name of a program stands for the command of its predecessor, once, whatever arguments
// follow: what berth executes of itself has the name of the command already.
func TestAsCalled(t *testing.T) {
	root := command(&app.Options{Stdout: io.Discard, Stderr: io.Discard})
	for name, cmd := range predecessors {
		if found, _, err := root.Find([]string{cmd}); cmd != "" && (err != nil || found.Name() != cmd) {
			t.Errorf("%s stands for the command %q, which berth does not have: %v", name, cmd, err)
		}
		var want []string
		if cmd != "" {
			want = []string{cmd}
		}
		for _, args := range [][]string{nil, {"--help"}, {"-x", "elect"}} {
			want := append(want[:len(want):len(want)], args...)
			for _, got := range [][]string{
				asCalled(append([]string{"/usr/local/bin/" + name}, args...)),
				asCalled(append([]string{name}, want...)),
				asCalled(append([]string{"berth"}, want...)),
			} {
				if !slices.Equal(got, want) {
					t.Errorf("%s: want %q, got %q", name, want, got)
				}
			}
		}
	}
}

// A link to berth and a file of berth that have the name of a predecessor are that program.
func TestNameOfTheFileIsTheProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	help := func(path string, args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), path, append(args, "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", path, err, out)
		}
		return string(out)
	}
	berth := filepath.Join(asBerth(t), "berth")
	for name, cmd := range predecessors {
		for kind, link := range map[string]func(old, new string) error{"link": os.Symlink, "file": hardLink} {
			path := filepath.Join(t.TempDir(), name)
			if err := link(self, path); err != nil {
				t.Fatal(err)
			}
			var args []string
			if cmd != "" {
				args = []string{cmd}
			}
			if got, want := help(path), help(berth, args...); got != want {
				t.Errorf("a %s with the name %s: want\n%s\ngot\n%s", kind, name, want, got)
			}
		}
	}
}

// hardLink makes a file of the same content, without its megabytes where that can be.
func hardLink(old, new string) error {
	if os.Link(old, new) == nil {
		return nil
	}
	text, err := os.ReadFile(old) // on another file system
	if err != nil {
		return err
	}
	return os.WriteFile(new, text, 0o755)
}
