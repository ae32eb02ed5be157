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
	"testing"
	"time"

	"berth/guard"
	"berth/internal/pidfd"
	"berth/notify"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// predecessor starts a process that stands for an earlier invocation: it holds
// the flock through a file it inherits, and its record lies beside.
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
	cmd.ExtraFiles = []*os.File{f} // the lock lives on in the child
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has set its traps
		t.Fatal(err)
	}
	p, err := pidfd.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
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

func acquire(t *testing.T, lockFile string, timeout time.Duration) (*guard.Permit, error) {
	t.Helper()
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	l := &guard.FileLock{
		Path:     lockFile,
		Timeout:  timeout,
		Busy:     func(ctx context.Context, path string) error { return notify.Supersede(ctx, path, self, zap.NewNop()) },
		Unusable: func(path string, err error) { t.Errorf("%s: %v", path, err) },
	}
	return l.Acquire(t.Context())
}

// Shells that wait in small steps, so that they handle signals and leave no
// child behind that keeps the lock.
const (
	deaf    = "trap '' TERM; echo; exec cat /dev/ptmx"
	waiting = "echo; exec cat /dev/ptmx"
)

func TestPredecessorIsEndedAndTheLockTaken(t *testing.T) {
	for _, row := range []struct {
		name, script string
		stopped      bool
		atLeast      time.Duration
		atMost       time.Duration
	}{
		{"one that ends on SIGTERM", waiting, false, 0, 900 * time.Millisecond},
		{"one that is deaf is killed after a second", deaf, false, time.Second, 3 * time.Second},
		{"one that is stopped is killed at once", waiting, true, 0, 900 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			lockFile := filepath.Join(t.TempDir(), "lock")
			p := predecessor(t, lockFile, row.script, false)
			if row.stopped {
				if err := p.Signal(unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				for { // until the kernel says so
					if info, err := pidfd.Stat(p.PID); err != nil || info.State == 'T' {
						break
					}
				}
			}
			begun := time.Now()
			permit, err := acquire(t, lockFile, 10*time.Second)
			took := time.Since(begun)
			if err != nil {
				t.Fatal(err)
			}
			if !p.Ended() {
				t.Error("the lock is ours and the predecessor lives")
			}
			if took < row.atLeast || took > row.atMost {
				t.Errorf("took %v, want %v to %v", took, row.atLeast, row.atMost)
			}
			if err := permit.Release(errors.New("done")); err != nil {
				t.Error(err)
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
		// The lock stays busy: it must end with the lock timeout, not with a
		// dead bystander.
		if _, err := acquire(t, lockFile, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "lock timeout of 100ms") {
			t.Errorf("%s: got %v, want the lock timeout", name, err)
		}
		if p.Ended() {
			t.Fatalf("%s: a bystander was ended", name)
		}
	}
}

func TestServiceIsNeverEnded(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "lock")
	p := predecessor(t, lockFile, waiting, true)
	if _, err := acquire(t, lockFile, 10*time.Second); !errors.Is(err, notify.ErrService) {
		t.Errorf("got %v, want ErrService at once", err)
	}
	if p.Ended() {
		t.Error("the service was ended")
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
	if _, err := acquire(t, lockFile, 10*time.Second); !errors.Is(err, notify.ErrSuperseded) {
		t.Errorf("got %v, want ErrSuperseded at once", err)
	}
	if p.Ended() {
		t.Error("the process of the newer event was ended")
	}
	self, err := notify.Self(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := notify.Enter(self, zap.NewNop(), lockFile); !errors.Is(err, notify.ErrSuperseded) || !strings.Contains(err.Error(), "BACKUP") {
		t.Errorf("under the lock: got %v, want ErrSuperseded and the newer state", err)
	}
}

func TestEnterActsWhenTheRecordIsOfNoUse(t *testing.T) {
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
		{"none yet", "", ""},
		{"older", record(func(r *notify.Record) { r.Script.Start-- }), ""},
		{"the same", record(func(*notify.Record) {}), ""},
		{"later, but of another boot", record(func(r *notify.Record) { r.Script.Start++; r.Boot = "before" }), ""},
		{"of a service that has ended", record(func(r *notify.Record) { r.Service = true; r.Script.Start++ }), ""},
		{"garbage", "{", "cannot tell the newest event; taking this one for it"},
		{"empty, as of a full disk", " ", "cannot tell the newest event; taking this one for it"},
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
			if err := notify.Enter(self, zap.New(core), lockFile); err != nil {
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
				t.Errorf("on record is %+v, %v; want %+v", now, err, self)
			}
		})
	}
	t.Run("cannot be written", func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		if err := notify.Enter(self, zap.New(core), filepath.Join(t.TempDir(), "none", "lock")); err != nil || logs.Len() != 1 {
			t.Fatalf("got %v and %d warnings, want to act, with one warning", err, logs.Len())
		}
		if text := fmt.Sprint(logs.All()[0].ContextMap()["error"]); strings.Count(text, "no such file") != 1 {
			t.Errorf("want the cause alone, got %s", text)
		}
	})
}

// Nothing waits for a record, and nothing ends because of one that is no good.
func TestGarbageInTheRecordNamesNobody(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "lock")
	p := predecessor(t, lockFile, waiting, false)
	if err := os.WriteFile(notify.RecordPath(lockFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := acquire(t, lockFile, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "lock timeout of 100ms") {
		t.Errorf("got %v, want the lock timeout", err)
	}
	if p.Ended() {
		t.Error("a bystander was ended")
	}
}

func TestPermitEndsWithItsReleaseAndWithItsContext(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "lock")
	permit, err := acquire(t, lockFile, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := permit.Check(t.Context()); err != nil {
		t.Errorf("a fresh permit forbids: %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	demoted := errors.New("demoted")
	cancel(demoted)
	if err := permit.Check(ended); !errors.Is(err, demoted) {
		t.Errorf("with an ended context: %v, want its cause", err)
	}
	done := errors.New("done")
	if err := permit.Release(done); err != nil {
		t.Error(err)
	}
	if err := permit.Check(t.Context()); !errors.Is(err, done) {
		t.Errorf("after its release: %v, want the cause", err)
	}
	again, err := acquire(t, lockFile, time.Second)
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	if err := again.Release(done); err != nil {
		t.Error(err)
	}
}
