// Package files reads and replaces regular files whose paths a configuration
// names, or that lie in directories where other users may write.
//
// A path can lead anywhere: to a FIFO, on which open(2) waits for ever, to
// /dev/zero, which never ends, to a file that another user made. So no function of
// this package blocks in open, reads anything but a regular file, unless its name
// says so, or reads without a bound.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a read may block.
const (
	readTimeout = time.Second
	pipeTimeout = 5 * time.Second
)

// ErrNotRegular says that a path does not lead to a regular file, but to a directory,
// a FIFO, a socket or a device.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge says that a file has more bytes than the caller accepts.
var ErrTooLarge = errors.New("larger than such a file can be")

// ErrForeign says that another user can have made a file: it has another owner, or
// a second name.
var ErrForeign = errors.New("not a file that this user alone has made")

// Read returns the whole content of a regular file of at most max bytes. It
// follows symbolic links, as Kubernetes mounts secrets behind them. The error is
// an *fs.PathError, and matches ErrNotRegular, ErrTooLarge or the error of the
// system, such as fs.ErrNotExist.
func Read(path string, max int64) ([]byte, error) {
	text, _, err := ReadInfo(path, max)
	return text, err
}

// ReadInfo is Read with the result of fstat(2) on the file that was read, or on the
// file that is not regular.
func ReadInfo(path string, max int64) ([]byte, fs.FileInfo, error) {
	f, err := open(path, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return read(f, path, max)
}

// ReadPipe returns the bytes that are written into a pipe until its writers have
// closed it: a shell's <(command), or /dev/stdin. It waits five seconds at most for
// the writers to close the pipe, and not for a first writer; an empty pipe is an
// error.
func ReadPipe(path string, max int64) ([]byte, error) {
	f, err := open(path, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(pipeTimeout)); err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	text, err := bounded(f, path, max)
	if err == nil && len(text) == 0 {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("the pipe is empty and has no writer")}
	}
	return text, err
}

// ReadOwn is Read for a file that this program wrote, in a directory where other
// users may write too: it follows no symbolic link in the last component of path, and
// the file must belong to the effective user and have one name only. Otherwise the
// error matches ErrForeign or unix.ELOOP.
func ReadOwn(path string, max int64) ([]byte, error) {
	f, err := open(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := Own(f); err != nil {
		return nil, err
	}
	text, _, err := read(f, path, max)
	return text, err
}

// Own returns an error that matches ErrNotRegular or ErrForeign unless f is a
// regular file of the effective user with one name only.
func Own(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	return own(f.Name(), st)
}

func own(path string, info fs.FileInfo) error {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}
	case int(st.Uid) != os.Geteuid():
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w: its owner is user %d", ErrForeign, st.Uid)}
	case st.Nlink != 1:
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w: it has %d names", ErrForeign, st.Nlink)}
	}
	return nil
}

func open(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|flags, 0)
}

func read(f *os.File, path string, max int64) ([]byte, fs.FileInfo, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, st, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	if st.Size() > max {
		return nil, nil, tooLarge(path, max)
	}
	// Some files of /proc and tracefs are regular to stat(2) and block a read like a
	// pipe. A file whose reads cannot block takes no deadline.
	if err := f.SetReadDeadline(time.Now().Add(readTimeout)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return nil, nil, err
	}
	text, err := bounded(f, path, max)
	if err != nil {
		return nil, nil, err
	}
	return text, st, nil
}

func bounded(f *os.File, path string, max int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > max {
		return nil, tooLarge(path, max)
	}
	return text, nil
}

func tooLarge(path string, max int64) error {
	return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, max)}
}
