package keepalived

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/journal"
	"berth/internal/pidfd"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// told returns a journal and the codes that it was told since the last call.
func told() (*journal.Journal, func() []string) {
	core, logs := observer.New(zap.InfoLevel)
	return journal.New(zap.New(core)), func() (codes []string) {
		for _, line := range logs.TakeAll() {
			codes = append(codes, line.ContextMap()["code"].(string))
		}
		return codes
	}
}

// A command that only reports watches nothing.
func TestWithoutAWatchKeepalivedIsFoundWhenItIsAskedFor(t *testing.T) {
	binary, pidFile := keepalived(t), filepath.Join(t.TempDir(), "keepalived.pid")
	d := New(Options{PIDFile: pidFile})
	if _, err := d.Current(); err == nil || !strings.Contains(err.Error(), pidFile) {
		t.Errorf("got %v, want an error that names the pid file", err)
	}
	if _, ok := d.VRRP(); ok {
		t.Error("found a VRRP process without keepalived")
	}
	if pid, err := d.Watchable(); pid != 0 || err == nil {
		t.Errorf("got %d, %v; want no process, and why", pid, err)
	}
	parent, child := start(t, binary, pidFile)
	if k, err := d.Current(); err != nil || k != (Processes{Parent: parent, VRRP: child, Proven: true}) {
		t.Errorf("got %+v, %v; want %d and %d", k, err, parent, child)
	}
	if pid, ok := d.VRRP(); pid != child || !ok {
		t.Errorf("the VRRP process is %d, %v; want %d", pid, ok, child)
	}
	if pid, err := d.Watchable(); pid != parent || err != nil {
		t.Errorf("got %d, %v; want %d, by pidfd", pid, err, parent)
	}
	if uid, gid, known := d.User(); uid != os.Getuid() || gid != os.Getgid() || !known {
		t.Errorf("runs as %d, %d, known %v; want this user", uid, gid, known)
	}
}

// A process that keepalived started belongs to that keepalived, whatever the pid file
// says.
func TestTheKeepalivedThatStartedAProcessIsTheCurrentOne(t *testing.T) {
	binary, dir := keepalived(t), t.TempDir()
	pidFile := filepath.Join(dir, "keepalived.pid")
	otherParent, _ := start(t, binary, pidFile)
	parent, child := start(t, binary, filepath.Join(dir, "elsewhere.pid"))
	open := func(pids ...int) (o Origin) {
		for _, pid := range pids {
			p, err := pidfd.Open(pid)
			if err != nil {
				t.Fatal(err)
			}
			o.Keepalived = append(o.Keepalived, p)
		}
		t.Cleanup(o.Close)
		return o
	}
	both, lone := open(child, parent), open(child)
	for _, row := range []struct {
		name   string
		o      Options
		parent int
		vrrp   int
	}{
		{"service", Options{Origin: both}, parent, child},
		{"script", Options{Origin: both, Script: true}, parent, child},
		{"script of a VRRP process whose parent has died", Options{Origin: lone, Script: true}, child, child},
		{"service below one process", Options{Origin: lone}, otherParent, 0},
	} {
		row.o.PIDFile = pidFile
		d := New(row.o)
		if pid, ok := d.Parent(); pid != row.parent || !ok {
			t.Errorf("%s: the parent is %d, %v; want %d", row.name, pid, ok, row.parent)
		}
		if pid, ok := d.VRRP(); row.vrrp != 0 && (pid != row.vrrp || !ok) {
			t.Errorf("%s: the VRRP process is %d, %v; want %d", row.name, pid, ok, row.vrrp)
		}
	}
	d := New(Options{PIDFile: filepath.Join(dir, "none"), Origin: both})
	if got := d.Verdict(); got != Alive {
		t.Errorf("Verdict says %v, want Alive", got)
	}
	if err := unix.Kill(child, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := both.Keepalived[0].Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.Verdict(); got != Dead {
		t.Errorf("after the death of the VRRP process Verdict says %v, want Dead", got)
	}
}

func TestAKeepalivedThatIsNotFoundIsToldOnceUntilItIs(t *testing.T) {
	binary, pidFile := keepalived(t), filepath.Join(t.TempDir(), "keepalived.pid")
	j, codes := told()
	d := New(Options{PIDFile: pidFile, Journal: j})
	for range 3 {
		if d.Expect() {
			t.Fatal("found a keepalived")
		}
	}
	if diff := cmp.Diff([]string{"keepalived-not-found"}, codes()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	start(t, binary, pidFile)
	if !d.Expect() || d.Verdict() != Alive {
		t.Error("keepalived was not found")
	}
	if got := codes(); got != nil {
		t.Errorf("told %v of a keepalived that is found", got)
	}
	d.end()
}

// A process that answers a question ends at once, which would count as the death of the
// keepalived that sent a MASTER.
func TestAKeepalivedThatAnswersAQuestionIsNone(t *testing.T) {
	shell, err := os.ReadFile("/bin/sh")
	binary := filepath.Join(t.TempDir(), "keepalived")
	if err = errors.Join(err, os.WriteFile(binary, shell, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		option string
		found  bool
	}{{"--vrrp", true}, {"--version", false}, {"-v", false}, {"-t", false}, {"--config-test=/tmp/log", false}, {"--signum=STOP", false}} {
		t.Run(row.option, func(t *testing.T) {
			cmd := exec.Command(binary, "-c", "read end; exit", row.option)
			in, err := cmd.StdinPipe()
			if err = errors.Join(err, cmd.Start()); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer in.Close()
			k, found := search("", func(pid int) bool { return pid == cmd.Process.Pid })
			if found != row.found || found && k.Parent != cmd.Process.Pid {
				t.Errorf("want it found: %t, got %t, %+v", row.found, found, k)
			}
		})
	}
}

// init is the parent of the script: keepalived has died, or the script has gone into
// the background.
func TestAnOrphanedScriptActsOnlyWhereItsKeepalivedMayLive(t *testing.T) {
	stale := filepath.Join(t.TempDir(), "stale.pid")
	if err := os.WriteFile(stale, []byte("1073741824\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	first := pidfd.Info{PID: os.Getpid(), Start: 1} // started before every keepalived
	for _, row := range []struct {
		name    string
		pidFile string
		o       Origin
		acts    bool
		took    time.Duration
		codes   []string
	}{
		{"its keepalived has left its pid file", stale, Origin{Script: first, Orphaned: true}, false, time.Second, []string{"keepalived-sender-died"}},
		{"there is no pid file", stale + "x", Origin{Script: first, Orphaned: true}, true, time.Second, []string{"keepalived-sender-not-found"}},
		{"not orphaned", stale, Origin{Script: first}, true, 0, []string{"keepalived-sender-not-found"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				j, codes := told()
				d := New(Options{PIDFile: row.pidFile, Origin: row.o, Script: true, Journal: j})
				if acts := d.Attach(t.Context()); acts != row.acts || time.Since(begun) != row.took {
					t.Errorf("acts %v after %v, want %v after %v", acts, time.Since(begun), row.acts, row.took)
				}
				if diff := cmp.Diff(row.codes, codes()); diff != "" {
					t.Errorf("told (-want +got):\n%s", diff)
				}
			})
		})
	}
}
