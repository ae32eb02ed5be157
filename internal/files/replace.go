package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Replace replaces a file, whole or not at all: a reader sees the old content or
// the new. The unfinished file has a random name that begins with a dot, in the
// same directory, which must exist, and is opened with O_EXCL, so that no other user
// can have made it. A symbolic link at path is replaced, not followed. Replace does
// not flush the content to the disk.
func Replace(path string, text []byte, mode fs.FileMode) error {
	return put(path, text, mode, os.Rename)
}

// Create is Replace for a file that does not exist: no reader sees it unfinished.
// The error matches fs.ErrExist if the file exists. On a file system that cannot
// tell, which has no RENAME_NOREPLACE, the file is replaced.
func Create(path string, text []byte, mode fs.FileMode) error {
	return put(path, text, mode, func(from, to string) error {
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		switch {
		case errors.Is(err, unix.EINVAL):
			return os.Rename(from, to)
		case err != nil:
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return nil
	})
}

// put writes a file of a random name and gives it its own.
func put(path string, text []byte, mode fs.FileMode, rename func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
