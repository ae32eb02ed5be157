package fifo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// pipeSize is the capacity that the pipe gets, in bytes. keepalived drops lines when
// the pipe is full, and the default of 64 KiB holds about 1500 lines.
const pipeSize = 1 << 20

// errNotFIFO says that a file of another type is at the path.
var errNotFIFO = errors.New("it is not a FIFO")

// pipe is one open FIFO.
type pipe struct {
	path string
	f    *os.File
	stat unix.Stat_t
	size int // capacity in bytes; keepalived drops a line that does not fit
	// unwritten is set when the last read found that no process has the FIFO
	// open for writing.
	unwritten bool
}

// open opens the FIFO at path, and makes it first, with mode 0600, if it is missing.
// A FIFO that it makes belongs to the user of this process, or, where that is root, to
// the user that owner returns, as whom keepalived runs. keepalived does not remove a
// FIFO at a reload that existed when keepalived started.
func open(path string, owner func() (uid, gid int, known bool)) (*pipe, error) {
	err := unix.Mkfifo(path, 0o600)
	made := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		if errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("make FIFO %s: the directory does not exist; run: mkdir -p %s", path, filepath.Dir(path))
		}
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	// Not O_RDWR: if berth were a writer too, the kernel could not tell whether
	// keepalived still is one. An end of file between two writers does not end the
	// reading, see read and wait.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("open FIFO %s: it is a symbolic link, which keepalived does not follow either; name the FIFO itself", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	p := &pipe{path: path}
	if err := unix.Fstat(fd, &p.stat); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	switch p.stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
	case unix.S_IFDIR:
		unix.Close(fd)
		return nil, fmt.Errorf("open FIFO %s: %w", path, unix.EISDIR)
	default:
		unix.Close(fd)
		return nil, fmt.Errorf("open FIFO %s: %w; remove it and start again", path, errNotFIFO)
	}
	p.f = os.NewFile(uintptr(fd), path)
	if made && owner != nil && os.Geteuid() == 0 {
		if uid, gid, known := owner(); known {
			if err := p.f.Chown(uid, gid); err != nil {
				p.close()
				return nil, fmt.Errorf("give FIFO %s to keepalived's user: %w", path, err)
			}
		}
	}
	if p.size, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err != nil {
		p.close()
		return nil, fmt.Errorf("open FIFO %s: %w", path, err)
	}
	return p, nil
}

// enlarge makes room for a burst of lines that arrives while the reader is held up. It
// is a precaution: without the privilege the pipe keeps its size.
func (p *pipe) enlarge() {
	p.control(func(fd int) {
		if size, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, pipeSize); err == nil {
			p.size = size
		}
	})
}

// control calls f with the descriptor, unless the FIFO is closed.
func (p *pipe) control(f func(fd int)) {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) { f(int(fd)) }) // an error says that it is closed
}

// overflown reports whether the pipe is so full that keepalived must be assumed to have
// dropped lines: 60 KiB of the default 64 KiB. A page of the pipe takes whole lines
// only, so that the pipe never fills to its last byte.
func (p *pipe) overflown() bool { return p.waiting() >= p.size-p.size/16 }

// waiting returns how many bytes there are to read.
func (p *pipe) waiting() (n int) {
	p.control(func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.TIOCINQ) })
	return n
}

// othersWrite reports whether users other than the FIFO's owner may write into it.
func (p *pipe) othersWrite() bool { return p.stat.Mode&0o022 != 0 }

func (p *pipe) close() { p.f.Close() }

// current reports whether the file at the path is still this FIFO, and retains its mode.
func (p *pipe) current() bool {
	var now unix.Stat_t
	if unix.Lstat(p.path, &now) != nil || now.Dev != p.stat.Dev || now.Ino != p.stat.Ino {
		return false
	}
	p.stat.Mode = now.Mode
	return true
}

// wait returns nil when there may be something to read, or when ctx ends.
func (p *pipe) wait(ctx context.Context) error {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	if err := p.f.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		// A deadline in the past interrupts the wait.
		_ = p.f.SetReadDeadline(time.Unix(1, 0))
	})
	defer stop()
	err = rc.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		// Not POLLHUP: that is set for as long as the FIFO has no writer.
		return err == nil && n > 0 && fds[0].Revents&unix.POLLIN != 0
	})
	// The deadline that interrupts an earlier wait may be set during this one.
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// read reads without waiting and returns the number of bytes, 0 if there are none. An
// end of file means only that no process has the FIFO open for writing, see fifo(7).
func (p *pipe) read(buf []byte) (n int) {
	p.control(func(fd int) {
		for {
			got, err := unix.Read(fd, buf)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			n = max(got, 0)
			p.unwritten = got == 0 && err == nil
			return
		}
	})
	return n
}
