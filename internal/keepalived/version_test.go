package keepalived

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
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

// installedVersion asks as each process does.
func installedVersion(runDirectory string) (string, error) {
	_, version, err := NewVersions(VersionOptions{RunDirectory: runDirectory}).installed()
	return version, err
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

// run starts a keepalived that runs until the test ends: a program that sleeps, whose file
// names a version.
func run(t *testing.T, path, version string) (process func() (int, bool)) {
	t.Helper()
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(program, "\x00Keepalived v"+version+" (01/16,2022)\x00"...), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, path, "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	return func() (int, bool) { return cmd.Process.Pid, true }
}

func TestTheVersionThatCountsIsToldWithItsReason(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "keepalived")
	for _, row := range []struct {
		name        string
		configured  string
		installed   string // what it answers, empty: there is none
		runs        string // its version, empty: none
		replaced    bool   // the file of the one that runs was replaced
		version, as string
		basis       Basis
		warns       string // empty: nothing
	}{
		{name: "installed", installed: "2.2.7", version: "2.2.7", as: "2.2.7", basis: Installed},
		{name: "configured", configured: "2.1.5", installed: "2.1.5", version: "2.1.5", as: "2.1.5", basis: Configured},
		{name: "configured otherwise", configured: "2.1.5", installed: "2.2.7", version: "2.1.5", as: "2.1.5", basis: Configured, warns: "keepalived-version is 2.1.5, but %s is keepalived 2.2.7; remove keepalived-version"},
		{name: "newer than known", installed: "9.9.9", version: "9.9.9", as: "2.4.3", basis: Installed, warns: "keepalived 9.9.9 is newer than 2.4.3, the newest that berth knows; update berth"},
		{name: "newer than known, configured", configured: "3", version: "3", as: "2.4.3", basis: Configured, warns: "keepalived 3 is newer than 2.4.3"},
		{name: "older than known", installed: "1.3.9", version: "1.3.9", as: "2.0.0", basis: Installed, warns: "keepalived 1.3.9 is older than 2.0.0, the oldest that berth knows"},
		{name: "odd answer", installed: "x", version: "2.4.3", as: "2.4.3", basis: Assumed, warns: "unexpected answer of %s --version"},
		{name: "runs elsewhere", installed: "2.2.7", runs: "2.3.4", version: "2.3.4", as: "2.3.4", basis: Running, warns: "keepalived 2.3.4 runs as " + elsewhere + " of process"},
		{name: "runs elsewhere as the same version", installed: "2.2.7", runs: "2.2.7", version: "2.2.7", as: "2.2.7", basis: Running},
		{name: "upgraded and not restarted", installed: "2.3.4", runs: "2.2.7", replaced: true, version: "2.2.7", as: "2.2.7", basis: Running, warns: "is still keepalived 2.2.7, and %s is 2.3.4: the reading changes when keepalived is restarted; restart keepalived"},
		{name: "odd answer beside one that runs", installed: "x", runs: "2.3.3", version: "2.3.3", as: "2.3.3", basis: Running, warns: "unexpected answer"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			program := filepath.Join(dir, "keepalived")
			if row.installed != "" {
				install(t, dir, "echo 'Keepalived v"+row.installed+" (01/16,2022)' >&2")
			} else {
				t.Setenv("PATH", dir)
			}
			o := VersionOptions{Configured: row.configured}
			if row.runs != "" {
				o.Process = run(t, elsewhere, row.runs)
				defer os.Remove(elsewhere)
			}
			if row.replaced {
				if err := os.Remove(elsewhere); err != nil {
					t.Fatal(err)
				}
			}
			v := NewVersions(o).Report()
			if v.Version != row.version || v.ReadAs != row.as || v.Basis != row.basis {
				t.Errorf("got %+v", v)
			}
			warns := row.warns
			if strings.Contains(warns, "%s") {
				warns = fmt.Sprintf(warns, program)
			}
			switch said := strings.Join(v.Warnings, "\n"); {
			case warns == "" && said != "", !strings.Contains(said, warns):
				t.Errorf("got the warnings %q, want %q", said, warns)
			}
			if !strings.Contains(v.String(), "is read as keepalived "+row.as+" reads it: ") {
				t.Errorf("got %q", v)
			}
		})
	}
}

// A change is told once: to another keepalived that runs, and not for each look.
func TestAVersionIsToldOnceInTheLog(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "echo 'Keepalived v2.2.7 (01/16,2022)' >&2")
	core, logged := observer.New(zap.InfoLevel)
	pid := 0
	s := NewVersions(VersionOptions{Process: func() (int, bool) { return pid, pid != 0 }, Journal: journal.New(zap.New(core))})
	for range 3 {
		if got := s.ReadAs(); got != "2.2.7" {
			t.Fatalf("got %s", got)
		}
	}
	pid, _ = run(t, filepath.Join(t.TempDir(), "keepalived"), "2.3.4")()
	for range 3 {
		if got := s.ReadAs(); got != "2.3.4" {
			t.Fatalf("got %s of the keepalived that runs", got)
		}
	}
	if n := calls(t, dir); n != 1 {
		t.Errorf("the installed one was asked %d times", n)
	}
	if all := logged.All(); len(all) != 1 || all[0].Message != versionRunning.Text {
		t.Errorf("logged %v", all)
	}
}

func TestTheVersionInAnExecutableIsFoundWhereverItStands(t *testing.T) {
	for _, at := range []int{0, 1, 1<<16 - 70, 1<<16 - 20, 1<<16 - 1, 1 << 16, 200_000} {
		text := append(make([]byte, at), "Keepalived v2.3.4 (06/10,2025)"...)
		if got, err := versionOf(bytes.NewReader(text)); got != "2.3.4" || err != nil {
			t.Errorf("at %d: got %q, %v", at, got, err)
		}
	}
	if got, err := versionOf(strings.NewReader("Keepalived v%s")); err == nil {
		t.Errorf("got %q of a text without a version", got)
	}
}

func FuzzVersionOf(f *testing.F) {
	f.Add([]byte("Keepalived v2.3.4 (06/10,2025)"))
	f.Add([]byte("Keepalived v2.3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if v, err := versionOf(bytes.NewReader(text)); (err == nil) != (v != "") {
			t.Errorf("got %q, %v", v, err)
		}
	})
}
