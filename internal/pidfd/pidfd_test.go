package pidfd_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"berth/internal/pidfd"

	"golang.org/x/sys/unix"
)

// child starts a process that lives until its standard input closes.
func child(t *testing.T) (*exec.Cmd, func()) {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return cmd, func() { in.Close() }
}

func TestWaitSeesTheEndEvenOfAZombie(t *testing.T) {
	cmd, end := child(t)
	p, err := pidfd.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Name != "cat" || p.Parent != os.Getpid() || p.Ended() {
		t.Errorf("got %+v, ended %v; want a living cat of ours", p.Info, p.Ended())
	}
	end() // and it is not reaped
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	if info, err := pidfd.Stat(p.PID); err != nil || info.State != 'Z' {
		t.Errorf("state %c, %v; want a zombie, or this test proves nothing", info.State, err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Errorf("signal to an ended process: %v", err)
	}
	if _, err := pidfd.Open(p.PID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening a zombie: %v, want ErrNotExist", err)
	}
}

func TestWaitEndsWithItsContextAndCanBeCalledAgain(t *testing.T) {
	cmd, end := child(t)
	p, err := pidfd.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 100 {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("why")
		go cancel(why)
		if err := p.Wait(ctx); !errors.Is(err, why) {
			t.Fatalf("Wait: %v, want the cause", err)
		}
	}
	end()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err != nil {
		t.Errorf("Wait after waits that were interrupted: %v", err)
	}
}

func TestOpenWhatIsNotThere(t *testing.T) {
	for _, pid := range []int{-1, 0, 1 << 30} {
		if _, err := pidfd.Open(pid); err == nil {
			t.Errorf("opened process %d", pid)
		}
	}
	if _, err := pidfd.Stat(1 << 30); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat: %v, want ErrNotExist", err)
	}
}
