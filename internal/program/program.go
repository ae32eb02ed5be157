// Package program runs the programs that the configuration names. A program has a
// process group of its own, which is killed when the program ends, or berth; it gets
// neither secrets nor descriptors of berth, and nobody waits for what its descendants
// keep open.
package program

import (
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long a request is still being written to the descendants of a
// program that has ended.
const grace = time.Second

// ErrTooLarge is what a writer of an output returns to have the program killed, because
// it writes more than it may.
var ErrTooLarge = errors.New("the answer is too large")

// Environment returns the variables that a program gets of berth's own environment,
// and those of the configuration, each as NAME=value. The environment of berth has
// secrets that are not the program's, and sockets by which systemd knows berth.
func Environment(own, extra []string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, v := range own {
		switch key, _, _ := strings.Cut(v, "="); {
		case key == "PATH", key == "HOME", key == "TZ", key == "LANG", strings.HasPrefix(key, "LC_"):
			env = append(env, v) // where a name is given twice the last counts, see os/exec
		}
	}
	return append(env, extra...)
}

// Run runs a program in a process group of its own, which is killed when the program
// ends or its context; the program is killed when berth dies. The bytes that the program
// wrote to its two outputs until its end are in out and said; a descendant that has
// them open is not waited for. The two are written to at the same time.
func Run(cmd *exec.Cmd, out, said io.Writer) error {
	// The kernel sends the signal when the thread ends that started the program
	// (prctl(2), PR_SET_PDEATHSIG), so this thread stays until the program has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	cmd.WaitDelay = grace
	outputs := make([]output, 2)
	for i, to := range []io.Writer{out, said} {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close() // a second time does no harm
		outputs[i] = output{r, w, to}
	}
	cmd.Stdout, cmd.Stderr = outputs[0].w, outputs[1].w
	closeOnExec()
	if err := cmd.Start(); err != nil {
		return err
	}
	var reading sync.WaitGroup
	for _, o := range outputs {
		o.w.Close()
		reading.Go(func() {
			// Until the end of the pipe, or of the program.
			if _, err := io.Copy(o.to, o.r); errors.Is(err, ErrTooLarge) {
				_ = kill()
			}
		})
	}
	// The program is left a zombie, so that its id still names the group.
	for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	_ = kill()
	for _, o := range outputs {
		_ = o.r.SetReadDeadline(time.Unix(1, 0))
	}
	reading.Wait()
	for _, o := range outputs {
		o.drain()
	}
	return cmd.Wait()
}

// output is a pipe from the program, and the writer that gets its bytes.
type output struct {
	r, w *os.File
	to   io.Writer
}

// drain reads what is in the pipe, and does not wait for more.
func (o output) drain() {
	raw, err := o.r.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		for b := make([]byte, 64<<10); ; {
			n, err := unix.Read(int(fd), b)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n <= 0 {
				return
			}
			if _, err := o.to.Write(b[:n]); err != nil {
				return
			}
		}
	})
}

// closeOnExec lets the program inherit no descriptor that berth itself has inherited,
// such as the sockets that systemd passes; those that berth opens are marked anyway.
func closeOnExec() {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return // Linux 5.11
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
}
