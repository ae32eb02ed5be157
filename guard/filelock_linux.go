package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
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
type FileLock struct {
	Path    string
	Timeout time.Duration
	// Busy makes whoever holds the lock let go, and returns when that is done
	// or not possible. It returns nil if there is nobody it can name; the
	// lock is then tried again.
	Busy func(ctx context.Context) error
}

// UnusableError says that the lock file itself cannot be used, as against one
// that somebody holds: its directory is missing or forbidden, the disk is full.
type UnusableError struct{ Err error }

// Error returns the text of the cause.
func (e *UnusableError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnusableError) Unwrap() error { return e.Err }

// Acquire blocks until the lock is held, Timeout has passed or ctx ends. The
// permit lives until it is released or ctx ends. A lock file that cannot be used
// gives an *UnusableError.
func (l *FileLock) Acquire(ctx context.Context) (*Permit, error) {
	lock := flock.New(l.Path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o600))
	waitCtx, cancel := context.WithTimeoutCause(ctx, l.Timeout,
		fmt.Errorf("lock %s was not free within the lock timeout of %v", l.Path, l.Timeout))
	defer cancel()
	if err := l.wait(waitCtx, lock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return newPermit(ctx, lock.Close), nil
}

// scarce reports whether an error says nothing of the file: there are no
// descriptors, or no memory, for now.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

func (l *FileLock) wait(ctx context.Context, lock *flock.Flock) error {
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		locked, err := lock.TryLock()
		switch {
		case scarce(err): // tried again, as where somebody holds the lock
		case errors.Is(err, os.ErrNotExist):
			return &UnusableError{fmt.Errorf("lock %s: the directory does not exist; run: mkdir -p %s", l.Path, filepath.Dir(l.Path))}
		case err != nil:
			return &UnusableError{fmt.Errorf("lock %s: %w", l.Path, err)}
		case locked:
			return nil
		default:
			if err := l.Busy(ctx); err != nil {
				return fmt.Errorf("lock %s: %w", l.Path, err)
			}
			if locked, err := lock.TryLock(); locked && err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			if err != nil && ctx.Err() == context.DeadlineExceeded {
				return fmt.Errorf("lock %s: %w; raise the limit of open files (LimitNOFILE in systemd)", l.Path, err)
			}
			return context.Cause(ctx)
		case <-time.After(delay):
		}
	}
}
