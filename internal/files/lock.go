package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// ErrLocked says that another process, or another open file of this one, holds
// the lock.
var ErrLocked = errors.New("locked by another process")

// lockTries bounds how often a lock file that is removed between its opening and
// its locking is opened again.
const lockTries = 10

// LockFile is a lock file whose flock(2) lock this process has.
type LockFile struct{ lock *flock.Flock }

// Lock takes the flock(2) lock of the file at path, which is made with mode 0600
// if it is missing. Lock does not wait, and the lock lasts until the returned file is
// closed or the process ends. The error matches ErrLocked when another process has
// the lock; ErrForeign, ErrNotRegular or unix.ELOOP when another user can have made
// the file; or it is that of the system. On a read-only file system Lock locks a file
// that exists.
func Lock(path string) (*LockFile, error) {
	for range lockTries {
		l, locked, err := tryLock(path)
		if err != nil {
			return nil, err
		}
		// The owner of the file is checked first, because the lock of another user's file
		// proves nothing.
		st, err := lockedFile(l, path, locked)
		if err == nil {
			err = own(path, st)
		}
		switch {
		case errors.Is(err, errRemoved): // other processes lock another file at this path
			l.Close()
		case err != nil:
			return nil, errors.Join(err, l.Close())
		case !locked:
			return nil, &fs.PathError{Op: "lock", Path: path, Err: ErrLocked}
		default:
			return &LockFile{l}, nil
		}
	}
	return nil, &fs.PathError{Op: "lock", Path: path, Err: errors.New("another process removes the file repeatedly")}
}

var errRemoved = errors.New("the file was removed")

func tryLock(path string) (l *flock.Flock, locked bool, err error) {
	const flags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	l = flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE|flags), flock.SetPermissions(0o600))
	locked, err = l.TryLock()
	if errors.Is(err, unix.EROFS) {
		existing := flock.New(path, flock.SetFlag(os.O_RDONLY|flags))
		if locked, eerr := existing.TryLock(); eerr == nil {
			return existing, locked, nil
		}
	}
	if _, named := errors.AsType[*fs.PathError](err); err != nil && !named {
		err = &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return l, locked, err
}

// lockedFile returns the status of a lock file: of the open file if it is locked by
// this process, else of the file at path.
func lockedFile(l *flock.Flock, path string, locked bool) (fs.FileInfo, error) {
	stat := l.Stat
	if !locked {
		stat = func() (fs.FileInfo, error) { return os.Lstat(path) }
	}
	st, err := stat()
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Sys().(*syscall.Stat_t).Nlink == 0 {
		return nil, errRemoved
	}
	return st, err
}

// Path returns where the file is.
func (f *LockFile) Path() string { return f.lock.Path() }

// Note replaces the content of the file, which is for people; the lock does not
// depend on it. Note fails if another file is at the path by now.
func (f *LockFile) Note(text string) error {
	w, err := os.OpenFile(f.Path(), os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	locked, err := f.lock.Stat()
	st, serr := w.Stat()
	if err = errors.Join(err, serr); err == nil && !os.SameFile(locked, st) {
		err = &fs.PathError{Op: "write", Path: f.Path(), Err: errors.New("the lock file was replaced")}
	}
	if err == nil {
		err = w.Truncate(0)
	}
	if err == nil {
		_, err = w.WriteString(text)
	}
	return errors.Join(err, w.Close())
}

// Close releases the lock.
func (f *LockFile) Close() error { return f.lock.Close() }

// OwnDirectory makes the directory at path with mode 0700, and missing directories
// above it with 0755. It changes the mode of a directory that exists to 0700. The
// error matches ErrForeign for a directory of another user, and unix.ENOTDIR for a
// file of another kind, such as a symbolic link.
func OwnDirectory(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if int(st.Uid) != os.Geteuid() {
		return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%w: its owner is user %d", ErrForeign, st.Uid)}
	}
	if st.Mode&0o777 == 0o700 {
		return nil
	}
	return d.Chmod(0o700)
}
