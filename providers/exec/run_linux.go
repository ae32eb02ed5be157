package exec

import (
	"bytes"
	"context"
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

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/providers"
)

const (
	maxAnswer = 1 << 20 // bytes
	maxLine   = 1 << 10 // bytes of a line of standard error that are logged
	maxLines  = 100     // of one run

	// runsAtOnce bounds how many programs run at a time. Each costs berth some six
	// descriptors, and the host a process.
	runsAtOnce = 32

	// grace is how long a request is still being written to the descendants of a
	// program that has ended.
	grace = time.Second
)

var errAnswerTooLarge = errors.New("the answer is too large")

// run starts the program and returns what the program wrote until its end.
func (c *Client) run(ctx context.Context, op string, in []byte) (answer []byte, err error) {
	if ctx.Err() != nil {
		return nil, providers.EndedError(ctx, name, op)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, providers.EndedError(ctx, name, op)
	}
	start := time.Now()
	defer func() { c.metrics.Request(name, op, 0, time.Since(start), err) }()
	runCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	out := &limited{}
	lines := &logLines{log: func(line string) {
		c.journal.Tell(programSays, zap.String("op", op), zap.String("line", c.caller.Refused(op, providers.Transient, line).Detail))
	}}
	cmd := exec.CommandContext(runCtx, c.command[0], c.command[1:]...)
	cmd.Env = environment(os.Environ(), c.extra)
	cmd.Stdin = bytes.NewReader(in)
	err = runGroup(cmd, out, lines)
	lines.flush()
	switch exit, _ := errors.AsType[*exec.ExitError](err); {
	case ctx.Err() != nil && err != nil:
		return nil, providers.EndedError(ctx, name, op)
	case out.full:
		return nil, c.caller.Refused(op, providers.Transient, errAnswerTooLarge.Error())
	case runCtx.Err() != nil && err != nil:
		e := c.caller.Refused(op, providers.Transient, "killed after "+c.timeout.String())
		e.Cause = context.DeadlineExceeded
		return nil, e
	case exit != nil:
		return out.b.Bytes(), c.caller.Refused(op, kindOf(exit.ExitCode()), exit.String())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, c.caller.Refused(op, providers.Transient, "run program: "+err.Error())
	}
	return out.b.Bytes(), nil
}

// environment returns the variables that a program gets of berth's own environment,
// and those of the configuration. The environment of berth has secrets that are not
// the program's, and sockets by which systemd knows berth.
func environment(own, extra []string) []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, v := range own {
		switch key, _, _ := strings.Cut(v, "="); {
		case key == "PATH", key == "HOME", key == "TZ", key == "LANG", strings.HasPrefix(key, "LC_"):
			env = append(env, v) // where a name is given twice the last counts, see os/exec
		}
	}
	return append(env, extra...)
}

// runGroup runs a program in a process group of its own, which is killed when the
// program ends; the program is killed when berth dies. The bytes that the program
// wrote to its two outputs until its end are in out and said; a descendant that has
// them open is not waited for. The program is killed when its answer is too large.
func runGroup(cmd *exec.Cmd, out, said io.Writer) error {
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
			if _, err := io.Copy(o.to, o.r); errors.Is(err, errAnswerTooLarge) {
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

// kindOf tells what an exit status of sysexits(3) means.
func kindOf(status int) providers.Kind {
	switch status {
	case 64, 78: // EX_USAGE, EX_CONFIG
		return providers.Invalid
	case 77: // EX_NOPERM
		return providers.Auth
	}
	return providers.Transient
}

// limited stores what is written to it up to a limit, and fails beyond.
type limited struct {
	b    bytes.Buffer
	full bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len()+len(p) > maxAnswer {
		l.full = true
		return 0, errAnswerTooLarge
	}
	return l.b.Write(p)
}

// logLines logs what is written to it, line by line, as much as is sensible.
type logLines struct {
	log   func(string)
	line  []byte
	count int
}

func (l *logLines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, line[:min(len(line), maxLine-len(l.line))]...)
		if ended {
			l.flush()
		}
		rest = after
	}
	return len(p), nil
}

// flush logs the line that has not ended.
func (l *logLines) flush() {
	if len(l.line) > 0 && l.count < maxLines {
		l.log(string(l.line))
		l.count++
	}
	l.line = l.line[:0]
}
