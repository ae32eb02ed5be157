package logs

import (
	"io"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"
)

// standard returns the place for lines without a log-file.
func standard(stderr io.Writer) place {
	f, ok := stderr.(*os.File)
	switch {
	case !ok:
		return writer{stderr}
	case isDevNull(f):
		return newDaemons()
	}
	return &stream{f}
}

func isDevNull(f *os.File) bool {
	var st unix.Stat_t
	err := control(f, func(fd int) error { return unix.Fstat(fd, &st) })
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}

// control calls f with the descriptor of a file. Unlike (*os.File).Fd it does not
// change the file's mode, which standard error shares with other processes.
func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// writer is a standard error that is not a file, as in tests.
type writer struct{ w io.Writer }

func (writer) stamped() bool { return true }

func (w writer) write(_ zapcore.Level, text []byte, _ <-chan struct{}) error {
	_, err := w.w.Write(text)
	return err
}

// stream is an open file: standard error, or a log-file.
type stream struct{ f *os.File }

func (*stream) stamped() bool { return true }

const (
	// pollTime bounds one call of poll(2).
	pollTime = 50 * time.Millisecond
	// maxWrite is how many bytes a pipe takes without blocking when poll(2) reports
	// room: PIPE_BUF, see pipe(7).
	maxWrite = 4096
)

// write writes a line when the file has room for it. The file is not made
// non-blocking, because it may be a pipe or a terminal that other processes share.
func (s *stream) write(_ zapcore.Level, text []byte, now <-chan struct{}) error {
	return control(s.f, func(fd int) error {
		for len(text) > 0 {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
			n, err := unix.Poll(fds, int(pollTime.Milliseconds()))
			if err != nil && err != syscall.EINTR {
				return os.NewSyscallError("poll", err)
			}
			if n <= 0 {
				select {
				case <-now:
					return errNow
				default:
					continue
				}
			}
			n, err = unix.Write(fd, text[:min(len(text), maxWrite)])
			if err != nil && err != syscall.EINTR && err != syscall.EAGAIN {
				return os.NewSyscallError("write", err)
			}
			text = text[max(n, 0):]
		}
		return nil
	})
}
