package health_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/health"

	"golang.org/x/sys/unix"
)

// sh is a check that runs a line of shell.
func sh(line string) health.Exec { return health.Exec{Command: []string{"/bin/sh", "-c", line}} }

// tells is a check that fails and says a text, with some values in its environment.
func tells(text string, values ...string) health.Exec {
	e := health.Exec{Command: []string{"/bin/sh", "-c", `printf %s "$1"; exit 1`, "sh", text}, Environment: map[string]string{}}
	for i, v := range values {
		e.Environment["V"+strconv.Itoa(i)] = v
	}
	return e
}

func TestExec(t *testing.T) {
	t.Setenv("BERTH_ETCD_PASSWORD", "S3CRET-OF-BERTH")
	for _, tt := range []struct {
		name  string
		check health.Exec
		want  string
	}{
		{"well", sh("echo fine"), ""},
		{"program by its name", health.Exec{Command: []string{"true"}}, ""},
		{"status, and the first line of the output", sh("echo; echo CRITICAL load; echo more; echo on stderr >&2; exit 2"), "exit status 2: CRITICAL load"},
		{"first line of standard error", sh("echo no route >&2; exit 1"), "exit status 1: no route"},
		{"silent", sh("exit 3"), "exit status 3"},
		{"terminal codes", sh(`printf '\033[31mred\tand\007\n'; exit 1`), "exit status 1: [31mred and"},
		{"a long line", sh("head -c 100000 /dev/zero | tr '\\0' x; exit 1"), "exit status 1: " + strings.Repeat("x", 256) + "..."},
		{"killed", sh("kill -9 $$"), "signal: killed"},
		{"no such program", health.Exec{Command: []string{"/nowhere/check"}}, "run program: fork/exec /nowhere/check: no such file or directory"},
		{"no such name", health.Exec{Command: []string{"nosuchcheck"}}, `run program: exec: "nosuchcheck": executable file not found in $PATH`},
		{"environment", health.Exec{Command: []string{"/bin/sh", "-c", `echo "$TOKEN $BERTH_ETCD_PASSWORD"; exit 1`}, Environment: map[string]string{"TOKEN": "S3CRET-TOKEN"}}, "exit status 1: *****"},
		{"a secret where the reason is cut", tells(strings.Repeat("x", 250)+"S3CRET-TOKEN more", "S3CRET-TOKEN"), "exit status 1: " + strings.Repeat("x", 250) + "***** ..."},
		{"a secret that is the beginning of another", tells("S3CRET-TOKEN-LONG", "S3CRET-TOKEN", "S3CRET-TOKEN-LONG"), "exit status 1: *****"},
		{"a secret with terminal codes", tells("S3C\x1bRET-TOKEN", "S3C\x1bRET-TOKEN"), "exit status 1: *****"},
		{"a secret of several lines", tells("SECOND-LINE", "FIRST-LINE\nSECOND-LINE\n"), "exit status 1: *****"},
		{"a short value", tells("level 3", "3"), "exit status 1: level 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := within(t, tt.check.Check, timeFor(tt.want)); got != tt.want {
				t.Errorf("got the reason %q, want %q", got, tt.want)
			}
		})
	}
	if err := sh("").Usable(); err != nil {
		t.Error(err)
	}
	if err := (health.Exec{Command: []string{"/nowhere/check"}}).Usable(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// The program, its children in the group and a daemon that has left the group but keeps
// the output open: none of them holds the check up beyond its time, and what is in the
// group is killed.
func TestExecThatHangsIsKilledWithItsGroup(t *testing.T) {
	for name, line := range map[string]string{
		"the program":                         "echo $$ >PIDS; exec sleep 60",
		"its child":                           "echo $$ >PIDS; sleep 60 & echo $! >>PIDS; wait",
		"a child that ignores SIGTERM":        "echo $$ >PIDS; trap '' TERM; sleep 60 & echo $! >>PIDS; wait",
		"a daemon that keeps the output open": "echo $$ >PIDS; setsid sleep 60 & sleep 60",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			begin := time.Now()
			if got := within(t, sh(strings.ReplaceAll(line, "PIDS", pids)).Check, 2*time.Second); got != "timed out after 2s" {
				t.Errorf("got the reason %q", got)
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
			gone(t, pids)
		})
	}
}

// A grandchild that keeps standard output open is not waited for.
func TestExecThatEndsIsNotHeldUpByAGrandchild(t *testing.T) {
	begin := time.Now()
	if got := look(t, sh("setsid sleep 60 & echo ill; exit 1").Check); got != "exit status 1: ill" {
		t.Errorf("got the reason %q", got)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("took %v", took)
	}
}

// A child that the program leaves behind in its group is killed.
func TestExecLeavesNoChildBehind(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	if got := look(t, sh("sleep 60 & echo $! >"+pids).Check); got != "" {
		t.Errorf("got the reason %q", got)
	}
	gone(t, pids)
}

// gone waits until no process of the file is there any more, not even as a zombie.
func gone(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if errors.Is(unix.Kill(pid, 0), unix.ESRCH) || orphaned(pid) {
				pid = 0
				break
			}
			<-tick.C
		}
		if pid != 0 {
			t.Errorf("process %d is still there", pid)
		}
	}
}

// orphaned reports whether a process is a zombie that another process than this one must
// collect: init, in a container that may have none.
func orphaned(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	fields := strings.Fields(string(text)[strings.LastIndex(string(text), ")")+1:])
	return fields[0] == "Z" && fields[1] != strconv.Itoa(os.Getpid())
}
