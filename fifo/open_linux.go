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

// pipeSize is what the pipe is enlarged to. keepalived drops lines when the
// pipe is full, and the default of 64 KiB is about 1500 of them.
const pipeSize = 1 << 20

// errNoFIFO says that something else is at the path.
var errNoFIFO = errors.New("it is no FIFO")

// pipe is one open FIFO.
type pipe struct {
	path string
	f    *os.File
	stat unix.Stat_t
	size int // what it holds at most; keepalived drops what does not fit
	// unwritten is set when the last read found that no process has the FIFO
	// open to write.
	unwritten bool
}

// open opens the FIFO at path, making it first if it is missing, with mode
// 0600. It is root's, who runs both keepalived and berth, unless owner gives
// the user as whom keepalived runs. A FIFO that exists before keepalived starts
// also survives keepalived's reloads.
func open(path string, owner func() (uid, gid int, known bool)) (*pipe, error) {
	err := unix.Mkfifo(path, 0o600)
	made := err == nil
	if err != nil && !errors.Is(err, unix.EEXIST) {
		if errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("make FIFO %s: the directory does not exist; run: mkdir -p %s", path, filepath.Dir(path))
		}
		return nil, fmt.Errorf("make FIFO %s: %w", path, err)
	}
	// Not O_RDWR: were berth a writer too, the kernel could not say whether
	// keepalived still is one. The end of file between two writers is no end,
	// see read and wait.
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
		return nil, fmt.Errorf("open FIFO %s: %w; remove it and start again", path, errNoFIFO)
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

// enlarge makes room for a burst while nobody reads. It is a precaution;
// without the privilege the pipe stays as it is.
func (p *pipe) enlarge() {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return
	}
	// Control runs its function unless the file is closed.
	_ = rc.Control(func(fd uintptr) {
		if size, err := unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize); err == nil {
			p.size = size
		}
	})
}

// overflown reports whether so much waits that keepalived must be taken to have
// dropped lines: 60 KiB of the usual 64. A page of the pipe takes whole lines
// only, so that it never becomes quite full.
func (p *pipe) overflown() bool { return p.waiting() >= p.size-p.size/16 }

// waiting returns how many bytes there are to read.
func (p *pipe) waiting() int {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	// Control runs its function unless the file is closed.
	_ = rc.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}

// othersWrite reports whether somebody else than the FIFO's owner may write
// events into it.
func (p *pipe) othersWrite() bool { return p.stat.Mode&0o022 != 0 }

func (p *pipe) close() { p.f.Close() }

// current reports whether the FIFO at the path is still this one.
func (p *pipe) current() bool {
	var now unix.Stat_t
	return unix.Lstat(p.path, &now) == nil && now.Dev == p.stat.Dev && now.Ino == p.stat.Ino
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
		// Not POLLHUP: that is there for as long as nobody writes.
		return err == nil && n > 0 && fds[0].Revents&unix.POLLIN != 0
	})
	// The deadline of an earlier wait that was interrupted may arrive late.
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// read returns what is there without waiting, 0 if there is nothing. An end of
// file means only that no process has the FIFO open to write, see fifo(7).
func (p *pipe) read(buf []byte) int {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	// Control runs its function unless the file is closed.
	_ = rc.Control(func(fd uintptr) {
		for {
			got, err := unix.Read(int(fd), buf)
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
