package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/guard"
	"berth/internal/journal"
	"berth/internal/pidfd"
	"berth/notify"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// predecessor starts a process in place of an earlier invocation: it has the flock by a
// file that it inherits, and its record lies beside the lock file.
func predecessor(t *testing.T, lockFile, script string, service bool) *pidfd.Process {
	t.Helper()
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.ExtraFiles = []*os.File{f} // the child keeps the lock
	p, _ := notify.Start(t, cmd)   // the line says that it has set its traps
	self, err := notify.Self(service)
	if err != nil {
		t.Fatal(err)
	}
	record := notify.Record{PID: p.PID, Start: p.Start, Boot: self.Boot, Service: service}
	if err := record.Write(lockFile); err != nil {
		t.Fatal(err)
	}
	return p
}

// acquire takes the lock as guard.FileLock does, and lets it go.
func acquire(t *testing.T, lockFile string, timeout time.Duration) error {
	t.Helper()
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.WarnLevel)
	l := &guard.FileLock{
		Path:    func(string) string { return lockFile },
		Timeout: timeout,
		Busy: func(ctx context.Context, _, path string) error {
			return notify.Supersede(ctx, path, self, journal.New(nil))
		},
		Journal: journal.New(zap.New(core)),
	}
	err = l.While(t.Context(), "VI_1", func(context.Context, *guard.Permit) error { return nil })
	if logs.Len() > 0 {
		t.Errorf("told %v", logs.All())
	}
	return err
}

// Scripts that write a line, and then wait as one process, so that no child keeps the
// lock.
const (
	ignoring = "trap '' TERM; echo; exec cat /dev/ptmx"
	waiting  = "echo; exec cat /dev/ptmx"
)

func TestFormerProcessIsEndedAndTheLockTaken(t *testing.T) {
	for _, row := range []struct {
		name, script string
		stopped      bool
		atLeast      time.Duration
		atMost       time.Duration
	}{
		{"one that ends on SIGTERM", waiting, false, 0, 900 * time.Millisecond},
		{"one that ignores SIGTERM is killed after a second", ignoring, false, time.Second, 3 * time.Second},
		{"one that is stopped is killed at once", waiting, true, 0, 900 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			lockFile := filepath.Join(t.TempDir(), "lock")
			p := predecessor(t, lockFile, row.script, false)
			if row.stopped {
				if err := p.Signal(unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				for { // until the kernel shows it
					if info, err := pidfd.Stat(p.PID); err != nil || info.State == 'T' {
						break
					}
				}
			}
			begun := time.Now()
			err := acquire(t, lockFile, 10*time.Second)
			took := time.Since(begun)
			if err != nil {
				t.Fatal(err)
			}
			if !p.Ended() {
				t.Error("this process has the lock, and the former one has not ended")
			}
			if took < row.atLeast || took > row.atMost {
				t.Errorf("took %v, want %v to %v", took, row.atLeast, row.atMost)
			}
		})
	}
}

func TestRecycledPIDIsNeverSignalled(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "lock")
	p := predecessor(t, lockFile, waiting, false)
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	for name, record := range map[string]notify.Record{
		"another start time": {PID: p.PID, Start: p.Start + 1, Boot: self.Boot},
		"another boot":       {PID: p.PID, Start: p.Start, Boot: "before"},
	} {
		if err := record.Write(lockFile); err != nil {
			t.Fatal(err)
		}
		// The lock stays busy: the call must end with the lock timeout, and must not
		// end the other process.
		if err := acquire(t, lockFile, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "lock timeout of 100ms") {
			t.Errorf("%s: got %v, want the lock timeout", name, err)
		}
		if p.Ended() {
			t.Fatalf("%s: another process was ended", name)
		}
	}
}

func TestServiceIsNeverEnded(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "lock")
	p := predecessor(t, lockFile, waiting, true)
	if err := acquire(t, lockFile, 10*time.Second); !errors.Is(err, notify.ErrService) {
		t.Errorf("got %v, want ErrService at once", err)
	}
	if p.Ended() {
		t.Error("the service was ended")
	}
}

func TestAskSignalsAScriptButNotAService(t *testing.T) {
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		service bool
		want    unix.Signal // that ends the process
	}{
		{"script", false, unix.SIGUSR1},
		{"service", true, unix.SIGTERM},
	} {
		t.Run(row.name, func(t *testing.T) {
			lockFile := filepath.Join(t.TempDir(), "lock")
			cmd := exec.Command("sh", "-c", waiting)
			p, _ := notify.Start(t, cmd)
			if err := (notify.Record{PID: p.PID, Start: p.Start, Boot: self.Boot, Service: row.service}).Write(lockFile); err != nil {
				t.Fatal(err)
			}
			if err := notify.Ask(t.Context(), lockFile, self); err != nil {
				t.Fatal(err)
			}
			// The kernel delivers the signal with the lower number first.
			if err := p.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(); got != row.want {
				t.Errorf("ended by %v, want %v", got, row.want)
			}
		})
	}
}

func TestNewerEventOnRecordSupersedes(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "lock")
	p := predecessor(t, lockFile, waiting, false)
	r, err := notify.ReadRecord(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	r.State, r.Script = vrrp.Backup, notify.Script{PID: 100, Start: 1 << 50}
	if err := r.Write(lockFile); err != nil {
		t.Fatal(err)
	}
	// Both while the newer process holds the lock and after its end.
	if err := acquire(t, lockFile, 10*time.Second); !errors.Is(err, notify.ErrSuperseded) {
		t.Errorf("got %v, want ErrSuperseded at once", err)
	}
	if p.Ended() {
		t.Error("the process of the newer event was ended")
	}
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := notify.Enter(self, journal.New(nil), lockFile); !errors.Is(err, notify.ErrSuperseded) || !strings.Contains(err.Error(), "BACKUP") {
		t.Errorf("under the lock: got %v, want ErrSuperseded and the newer state", err)
	}
}

func TestEnterDoesNotRefuseBecauseOfAnUnusableRecord(t *testing.T) {
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	self.Script, self.Config, self.State = notify.Script{PID: self.PID, Start: self.Start}, "/etc/berth.yml", vrrp.Master
	record := func(change func(*notify.Record)) string {
		r := self
		change(&r)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, row := range []struct {
		name, former string
		warning      string
	}{
		{"no record", "", ""},
		{"older", record(func(r *notify.Record) { r.Script.Start-- }), ""},
		{"the same", record(func(*notify.Record) {}), ""},
		{"later, but of another boot", record(func(r *notify.Record) { r.Script.Start++; r.Boot = "before" }), ""},
		{"of a service that has ended", record(func(r *notify.Record) { r.Service = true; r.Script.Start++ }), ""},
		{"garbage", "{", "cannot tell which event is the newest; acting on this one"},
		{"empty, as of a full disk", " ", "cannot tell which event is the newest; acting on this one"},
		{"another configuration", record(func(r *notify.Record) { r.Config = "/etc/other.yml" }), "another berth acts for this instance with a different configuration; keep one"},
	} {
		t.Run(row.name, func(t *testing.T) {
			lockFile := filepath.Join(t.TempDir(), "lock")
			if row.former != "" {
				if err := os.WriteFile(notify.RecordPath(lockFile), []byte(row.former), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			core, logs := observer.New(zapcore.WarnLevel)
			if err := notify.Enter(self, journal.New(zap.New(core)), lockFile); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, e := range logs.All() {
				got += e.Message
			}
			if got != row.warning {
				t.Errorf("warned %q, want %q", got, row.warning)
			}
			if now, err := notify.ReadRecord(lockFile); err != nil || now != self {
				t.Errorf("the record is %+v, %v; want %+v", now, err, self)
			}
		})
	}
	t.Run("cannot be written", func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		if err := notify.Enter(self, journal.New(zap.New(core)), filepath.Join(t.TempDir(), "none", "lock")); err != nil || logs.Len() != 1 {
			t.Fatalf("got %v and %d warnings, want no error and one warning", err, logs.Len())
		}
		if text := fmt.Sprint(logs.All()[0].ContextMap()["error"]); strings.Count(text, "no such file") != 1 {
			t.Errorf("want the cause alone, got %s", text)
		}
	})
}

func TestNoProcessIsEndedBecauseOfAnUnreadableRecord(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "lock")
	p := predecessor(t, lockFile, waiting, false)
	if err := os.WriteFile(notify.RecordPath(lockFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := acquire(t, lockFile, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "lock timeout of 100ms") {
		t.Errorf("got %v, want the lock timeout", err)
	}
	if p.Ended() {
		t.Error("another process was ended")
	}
}
