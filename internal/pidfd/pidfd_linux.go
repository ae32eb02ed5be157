// Package pidfd holds processes by pidfd(2) handles, so that a recycled pid is
// never watched or signalled by mistake: the end of a process wakes the waiter,
// and a zombie counts as ended. Where the kernel refuses such a handle, as the
// system call filters of containers do, a process is held by its pid and start
// time instead: /proc is read again and again, and kill(2) signals it. A process has
// ended only when /proc and kill(2) say so; one that they do not show has not.
package pidfd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often /proc is read for a process that is held without a pidfd.
// A reading takes some ten microseconds; a predecessor that ends delays a claim by
// one interval at most.
const pollInterval = 20 * time.Millisecond

// openFD is pidfd_open(2); a test refuses it.
var openFD = unix.PidfdOpen

// Process is an open handle on one process. Close it when done.
type Process struct {
	Info
	f       *os.File // nil without a pidfd
	refused error    // why there is none
}

// Info is what /proc/PID/stat says of a process, see proc(5).
type Info struct {
	PID    int
	Parent int
	Name   string // comm, at most 15 bytes
	State  byte   // R, S, D, T (stopped), t, Z (zombie), X ...
	Start  uint64 // clock ticks after boot; with PID unique within a boot
}

// Stat reads /proc/PID/stat. The error matches os.ErrNotExist when there is no
// such process.
func Stat(pid int) (Info, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, unix.ESRCH) {
		err = os.ErrNotExist // it ended between open and read
	}
	if err != nil {
		return Info{}, fmt.Errorf("read state of process %d: %w", pid, err)
	}
	return parseStat(pid, text)
}

// parseStat takes the fields apart. The name stands in parentheses and may
// itself hold any byte, so the last closing one counts.
func parseStat(pid int, text []byte) (Info, error) {
	bad := fmt.Errorf("read state of process %d: unexpected form of /proc/%d/stat", pid, pid)
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return Info{}, bad
	}
	// Fields after the name; the first is number 3 in proc(5).
	f := strings.Fields(string(text[end+1:]))
	if len(f) < 20 || len(f[0]) != 1 {
		return Info{}, bad
	}
	parent, err1 := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil {
		return Info{}, bad
	}
	return Info{PID: pid, Parent: parent, Name: string(text[open+1 : end]), State: f[0][0], Start: start}, nil
}

// Open opens a handle on a process. The error matches os.ErrNotExist when the
// process does not exist or has ended. A process that exists and that /proc does not
// show gives an error of another kind.
func Open(pid int) (*Process, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("open process %d: %w", pid, os.ErrNotExist)
	}
	p := &Process{}
	// Non-blocking, so that the runtime's poller can wait for it.
	fd, err := openFD(pid, unix.PIDFD_NONBLOCK)
	switch {
	case err == nil:
		p.f = os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(pid))
	case errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("open process %d: %w", pid, os.ErrNotExist)
	default:
		p.refused = fmt.Errorf("pidfd_open: %w", err)
	}
	// Read after the handle is open: from here on the pid is this process's,
	// or the process is gone and the handle says so.
	if p.Info, err = Stat(pid); err == nil && p.Ended() {
		err = fmt.Errorf("open process %d: it has ended: %w", pid, os.ErrNotExist)
	} else if errors.Is(err, os.ErrNotExist) && exists(pid) {
		err = fmt.Errorf("open process %d: /proc does not show it; the mount option hidepid hides it", pid)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Polled returns why the process is held without a pidfd, nil if it is held by
// one. Its end is then noticed a moment later.
func (p *Process) Polled() error { return p.refused }

// Close closes the handle. It does nothing to the process.
func (p *Process) Close() {
	if p.f != nil {
		p.f.Close()
	}
}

// Ended reports whether the process has ended, as a zombie or entirely.
func (p *Process) Ended() bool {
	if p.f == nil {
		return Gone(p.PID, p.Start)
	}
	ended := false
	rc, err := p.f.SyscallConn()
	if err != nil {
		return false
	}
	// Control runs its function unless the file is closed.
	_ = rc.Control(func(fd uintptr) { ended = readable(fd) })
	return ended
}

// Gone reports whether the process that had this pid and start time is seen to
// have ended, as a zombie or entirely. A process of which nothing can be read is not
// gone.
func Gone(pid int, start uint64) bool {
	info, err := Stat(pid)
	if err != nil {
		return errors.Is(err, os.ErrNotExist) && !exists(pid)
	}
	return info.Start != start || info.State == 'Z' || info.State == 'X'
}

// exists asks kill(2), which sees also what /proc hides.
func exists(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}

func readable(fd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1
}

// Wait returns nil as soon as the process has ended, or the cause of ctx.
// One call at a time.
func (p *Process) Wait(ctx context.Context) error {
	if p.f == nil {
		return p.poll(ctx)
	}
	rc, err := p.f.SyscallConn()
	if err != nil {
		return p.poll(ctx)
	}
	stop := context.AfterFunc(ctx, func() {
		// A deadline in the past interrupts the wait below.
		_ = p.f.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	for {
		// The deadline is cleared before ctx is read: so the interruption of an
		// earlier call is forgotten, and that of this call cannot be.
		if err := p.f.SetReadDeadline(time.Time{}); err != nil {
			return p.poll(ctx)
		}
		if ctx.Err() != nil && !p.Ended() {
			return context.Cause(ctx)
		}
		err := rc.Read(readable)
		if err == nil || p.Ended() {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return p.poll(ctx)
		}
	}
}

// poll is Wait without a pidfd, or with one that cannot be waited for.
func (p *Process) poll(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !p.Ended() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

// Signal sends a signal. It is not an error that the process has ended. Without a pidfd
// the start time is compared immediately before kill(2).
func (p *Process) Signal(sig unix.Signal) error {
	err := p.signalFD(sig)
	if errors.Is(err, errNoFD) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		// The same filter refuses pidfd_send_signal(2); kill(2) says itself
		// what is not permitted.
		if p.Ended() {
			return nil
		}
		err = unix.Kill(p.PID, sig)
	}
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", sig, p.PID, err)
	}
	return nil
}

var errNoFD = errors.New("no pidfd")

func (p *Process) signalFD(sig unix.Signal) error {
	if p.f == nil {
		return errNoFD
	}
	rc, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	if err := rc.Control(func(fd uintptr) { sendErr = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	return sendErr
}
