package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process, or another open file of this one, holds
// the lock.
var ErrLocked = errors.New("locked by another process")

// lockTries bounds how often a lock file that is removed between its opening and
// its locking is opened again.
const lockTries = 10

// Lock takes the flock(2) lock of the file at path, which is made with mode 0600
// if it is missing. It waits for nobody, and the lock lasts until the returned
// file is closed or the process ends. The error matches ErrLocked when somebody
// holds the lock; ErrForeign, ErrNotRegular or unix.ELOOP when the file is one
// that another user may have made; or it is that of the system. On a file system
// that is read-only a file that exists is locked all the same.
func Lock(path string) (*os.File, error) {
	for range lockTries {
		f, err := openLock(path)
		if err != nil {
			return nil, err
		}
		removed, err := lock(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if !removed {
			return f, nil
		}
		f.Close() // the lock of a file without a name keeps nobody out
	}
	return nil, &fs.PathError{Op: "lock", Path: path, Err: errors.New("the file is removed again and again")}
}

func openLock(path string) (*os.File, error) {
	const flags = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flags, 0o600)
	if errors.Is(err, unix.EROFS) {
		if existing, eerr := os.OpenFile(path, os.O_RDONLY|flags, 0); eerr == nil {
			return existing, nil
		}
	}
	return f, err
}

// lock locks an open file. Whose file it is counts before whether it is locked:
// the lock of another user's file says nothing.
func lock(f *os.File) (removed bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if st.Nlink == 0 {
		return true, nil
	}
	if err := Own(f); err != nil {
		return false, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: ErrLocked}
	case err != nil:
		return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return st.Nlink == 0, nil
}

// OwnDirectory makes the directory at path with mode 0700, and what is above it
// with 0755, or takes from one that exists what others than the effective user
// may do with it. The error matches ErrForeign when it is a directory of another
// user, and unix.ENOTDIR when it is something else, such as a symbolic link.
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
