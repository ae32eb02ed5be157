package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"berth/internal/files"

	"golang.org/x/sys/unix"
)

// While nobody can be named who holds the lock, attempts are spaced: closely at
// first, for the moment between locking the file and writing the owner's
// record, then widely, for a program that is not berth.
const (
	firstRetry = time.Millisecond
	lastRetry  = 20 * time.Millisecond
)

// FileLock is the guard that a lock file is. The kernel drops the lock with
// its process, so a crash leaves nothing to clean up.
//
// A lock file that cannot be used (a missing directory, a full or read-only file
// system, a file that another user made) does not stand before acting: it keeps
// nobody out, and that is all.
type FileLock struct {
	Path string
	// OwnDirectory makes the directory of Path, which then is the effective
	// user's alone, instead of expecting it.
	OwnDirectory bool
	// Former is where an earlier version of berth has the same lock, or "". It is
	// taken after Path.
	Former  string
	Timeout time.Duration
	// Busy makes the process that holds the lock at path let go, and returns when
	// that is done or not possible. It returns nil if it can name no process; the
	// lock is then tried again.
	Busy func(ctx context.Context, path string) error
	// Unusable is told of a lock file, Path or Former, that cannot be used, and
	// why.
	Unusable func(path string, err error)
}

// Acquire blocks until all locks that can be used are held, Timeout has passed or
// ctx ends. The permit lives until it is released or ctx ends.
func (l *FileLock) Acquire(ctx context.Context) (*Permit, error) {
	var held []*files.LockFile
	release := func() error {
		var errs []error
		for _, f := range held {
			errs = append(errs, f.Close())
		}
		return errors.Join(errs...)
	}
	paths := []string{l.Path}
	if l.OwnDirectory {
		if err := files.OwnDirectory(filepath.Dir(l.Path)); err != nil && !scarce(err) {
			l.Unusable(l.Path, fmt.Errorf("make the lock's directory: %w", err))
			paths = nil
		}
	}
	if l.Former != "" {
		paths = append(paths, l.Former)
	}
	deadline := time.Now().Add(l.Timeout)
	for _, path := range paths {
		waitCtx, cancel := context.WithDeadlineCause(ctx, deadline,
			fmt.Errorf("lock %s was not free within the lock timeout of %v", path, l.Timeout))
		f, err := l.wait(waitCtx, path)
		cancel()
		if err != nil {
			return nil, errors.Join(err, release())
		}
		if f != nil {
			held = append(held, f)
		}
	}
	p := newPermit(ctx, release)
	for _, f := range held {
		p.files = append(p.files, f.Path())
	}
	return p, nil
}

// scarce reports whether an error says nothing of the file: there are no
// descriptors, or no memory, for now.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// wait returns nothing at all if the lock file cannot be used.
func (l *FileLock) wait(ctx context.Context, path string) (*files.LockFile, error) {
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		f, err := files.Lock(path)
		switch {
		case err == nil:
			return f, nil
		case scarce(err): // tried again, as where somebody holds the lock
		case !errors.Is(err, files.ErrLocked):
			l.Unusable(path, unusable(path, err))
			return nil, nil
		default:
			if err := l.Busy(ctx, path); err != nil {
				return nil, fmt.Errorf("lock %s: %w", path, err)
			}
			if f, err := files.Lock(path); err == nil {
				return f, nil
			}
		}
		select {
		case <-ctx.Done():
			if scarce(err) && ctx.Err() == context.DeadlineExceeded {
				return nil, fmt.Errorf("lock: %w; raise the limit of open files (LimitNOFILE in systemd)", err)
			}
			return nil, context.Cause(ctx)
		case <-time.After(delay):
		}
	}
}

// unusable adds the cure to the cause.
func unusable(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("lock %s: the directory does not exist; run: mkdir -p %s", path, filepath.Dir(path))
	case errors.Is(err, files.ErrForeign), errors.Is(err, files.ErrNotRegular), errors.Is(err, unix.ELOOP):
		return fmt.Errorf("lock: %w; run: rm %s", err, path)
	case errors.Is(err, os.ErrPermission):
		// The kernel answers so for another user's file where fs.protected_regular or
		// its like is set, see sysctl fs in proc(5).
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("lock: %w; its owner is user %d; run: rm %s", err, st.Uid, path)
		}
	}
	return fmt.Errorf("lock: %w", err)
}
