package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxLines is the length of a file beyond which it does more than one thing.
const maxLines = 450

// longFiles may be longer than maxLines, for a reason.
var longFiles = map[string]string{}

func lines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

func TestFilesAreShort(t *testing.T) {
	for _, path := range sources(t) {
		n, reason := lines(t, path), longFiles[filepath.ToSlash(path)]
		if n > maxLines && reason == "" {
			t.Errorf("%s has %d lines; split it by what it does at %d, or add it to longFiles with the reason", path, n, maxLines)
		}
		if n <= maxLines && reason != "" {
			t.Errorf("%s has %d lines and needs no exception", path, n)
		}
	}
}

// appLines is how much code wires the commands and modes together; more than that
// decides something.
const appLines = 4050

func TestAppOnlyWires(t *testing.T) {
	n := 0
	for _, path := range sources(t) {
		if filepath.Dir(path) == filepath.Join("internal", "app") && !strings.HasSuffix(path, "_test.go") {
			n += lines(t, path)
		}
	}
	if n > appLines {
		t.Errorf("internal/app has %d lines without tests, want %d at most: behaviour belongs in the package whose name promises it", n, appLines)
	}
}
