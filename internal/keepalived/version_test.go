package keepalived

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// install puts a keepalived on the PATH that answers and counts its calls.
func install(t *testing.T, dir, answer string) {
	t.Helper()
	script := "#!/bin/sh\necho x >>" + dir + "/calls\n" + answer + "\n"
	path := filepath.Join(dir, "keepalived")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	// Another file, also where the clock is coarse.
	at := time.Now().Add(time.Duration(len(script)) * time.Second)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func calls(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "x")
}

func TestInstalledVersionIsAskedOncePerFile(t *testing.T) {
	dir, run := t.TempDir(), filepath.Join(t.TempDir(), "run")
	install(t, dir, "echo 'Keepalived v2.2.7 (01/16,2022)' >&2")
	for range 3 {
		if got, err := installedVersion(run); got != "2.2.7" || err != nil {
			t.Fatalf("got %q, %v; want 2.2.7", got, err)
		}
	}
	if n := calls(t, dir); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	install(t, dir, "echo 'Keepalived v2.3.10 (01/16,2025)' >&2")
	if got, err := installedVersion(run); got != "2.3.10" || err != nil {
		t.Errorf("after an upgrade: got %q, %v; want 2.3.10", got, err)
	}
	kept := filepath.Join(run, "keepalived-version")
	text, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, text[:len(text)-2], 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := installedVersion(run); got != "2.3.10" || err != nil {
		t.Errorf("with a torn file: got %q, %v; want 2.3.10", got, err)
	}
	if _, err := installedVersion(""); err != nil {
		t.Error(err)
	}
}

func TestOddAnswerIsAnErrorThatNamesTheProgram(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "echo nonsense; exit 3")
	got, err := installedVersion("")
	if got != "" || err == nil || !strings.Contains(err.Error(), dir+"/keepalived --version") {
		t.Errorf("got %q, %v", got, err)
	}
}
