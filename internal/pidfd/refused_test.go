package pidfd

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// refuse has pidfd_open(2) fail as a system call filter makes it.
func refuse(t *testing.T, err error) {
	former := openFD
	openFD = func(int, int) (int, error) { return -1, err }
	t.Cleanup(func() { openFD = former })
}

func TestRefusedPidfdIsWatchedThroughProcAndSignalledByKill(t *testing.T) {
	for _, refusal := range []error{unix.EPERM, unix.ENOSYS, unix.EINVAL, unix.EMFILE} {
		t.Run(refusal.Error(), func(t *testing.T) {
			refuse(t, refusal)
			cmd := exec.Command("sleep", "60")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}()
			p, err := Open(cmd.Process.Pid)
			if err != nil {
				t.Fatalf("a refused pidfd is not the end of the process: %v", err)
			}
			defer p.Close()
			if !errors.Is(p.Polled(), refusal) || p.Ended() {
				t.Errorf("polled because of %v, ended %v; want %v and alive", p.Polled(), p.Ended(), refusal)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("why")
			cancel(why)
			if err := p.Wait(ctx); !errors.Is(err, why) {
				t.Errorf("Wait: %v, want the cause", err)
			}
			if err := p.Signal(unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			waitCtx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			if err := p.Wait(waitCtx); err != nil { // it is a zombie, as it is not reaped
				t.Fatalf("Wait: %v", err)
			}
			if err := p.Signal(unix.SIGTERM); err != nil {
				t.Errorf("signal to an ended process: %v", err)
			}
			if _, err := Open(cmd.Process.Pid); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("opening a zombie: %v, want ErrNotExist", err)
			}
		})
	}
}

// The pid of a process that has ended may be another process's by now.
func TestRefusedPidfdNeverSignalsARecycledPid(t *testing.T) {
	refuse(t, unix.EPERM)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p.Start-- // as if another process had had the pid before
	if !p.Ended() {
		t.Error("want the former process to have ended")
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Errorf("signal to an ended process: %v", err)
	}
	if info, err := Stat(cmd.Process.Pid); err != nil || info.State == 'Z' {
		t.Errorf("the process that has the pid now was killed: %+v, %v", info, err)
	}
}

func TestGoneIsOnlyWhatIsSeenToHaveEnded(t *testing.T) {
	self, err := Stat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		pid   int
		start uint64
		want  bool
	}{
		{"lives", self.PID, self.Start, false},
		{"the pid is another process's", self.PID, self.Start + 1, true},
		{"no process has the pid", 1 << 30, self.Start, true},
	} {
		if got := Gone(row.pid, row.start); got != row.want {
			t.Errorf("%s: gone %v, want %v", row.name, got, row.want)
		}
	}
}
