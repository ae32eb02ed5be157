package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"berth/internal/files"
)

// file is a log-file. Only the writer uses it, beside its path.
type file struct {
	path    string
	open    *os.File  // nil: not open
	checked time.Time // when it was last checked which file is at path
	failing bool      // the standard place was told of a failure; not a journal.Condition, see the package comment
}

// fileInterval is how often the writer checks whether a log-file was rotated, and
// tries to open a file that could not be opened.
const fileInterval = time.Second

func (*file) stamped() bool { return true }

// write writes a line to the file that is at path now.
func (f *file) write(level zapcore.Level, text []byte, now <-chan struct{}) error {
	if time.Since(f.checked) >= fileInterval {
		f.checked = time.Now()
		if f.open != nil && f.rotated() {
			f.close()
		}
		if f.open == nil {
			var err error
			if f.open, err = openFile(f.path); err != nil {
				return err
			}
		}
	}
	if f.open == nil {
		return os.ErrClosed // a second has not passed since it could not be opened
	}
	err := (&stream{f.open}).write(level, text, now)
	if err != nil && !errors.Is(err, errNow) {
		f.close()
	}
	return err
}

func (f *file) close() {
	if f.open != nil {
		f.open.Close()
		f.open = nil
	}
}

// rotated reports whether another file is at path than the one that is open.
func (f *file) rotated() bool {
	there, err := os.Stat(f.path)
	if err != nil {
		return true
	}
	here, err := f.open.Stat()
	return err != nil || !os.SameFile(here, there)
}

// news returns the line for the standard place after a line was written, or could not
// be written: the first failure, and its end. The entry has no message otherwise.
func (f *file) news(err error) (e zapcore.Entry, fields []zapcore.Field) {
	e.Time = time.Now()
	fields = []zapcore.Field{zap.String("log_file", f.path)}
	switch {
	case errors.Is(err, errNow):
	case err != nil && !f.failing:
		f.failing = true
		e.Level, e.Message = zapcore.ErrorLevel, "cannot write the log-file; its lines are written here, and berth tries the file again each second"
		fields = append(fields, zap.Error(err))
	case err == nil && f.failing:
		f.failing = false
		e.Level, e.Message = zapcore.InfoLevel, "the log-file is written again"
	}
	return e, fields
}

// openFile opens a log-file, and makes it if it is missing, readable by owner and
// group. It does not wait for the reader of a FIFO. It follows a symbolic link below
// /proc and /dev, because /proc/1/fd/2 and /dev/stderr are links. Elsewhere it refuses
// a link, and a file that another user can have made: this process may be root, and
// other users may write in the directory.
func openFile(path string) (*os.File, error) {
	system := strings.HasPrefix(path, "/proc/") || strings.HasPrefix(path, "/dev/")
	flags := os.O_WRONLY | os.O_APPEND | unix.O_NONBLOCK | unix.O_NOCTTY
	if !system {
		flags |= os.O_CREATE | unix.O_NOFOLLOW
	}
	f, err := os.OpenFile(path, flags, 0o640)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Mode().IsRegular() && !system {
		err = files.Own(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Check returns why a path cannot be that of a log-file, as far as that is visible
// without opening the file.
func Check(path string) error {
	if path == "" {
		return nil
	}
	st, err := os.Stat(path)
	if err == nil && st.IsDir() {
		return &fs.PathError{Op: "log to", Path: path, Err: unix.EISDIR}
	}
	dir := filepath.Dir(path)
	if st, derr := os.Stat(dir); err != nil && (derr != nil || !st.IsDir()) {
		return fmt.Errorf("log to %s: the directory does not exist; run: mkdir -p %s", path, dir)
	}
	return nil
}
