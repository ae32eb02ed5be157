package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"berth/internal/files"
	"berth/internal/journal"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// While the process that holds the lock cannot be named, attempts are spaced: closely
// at first, for the moment between locking the file and writing the owner's record,
// then widely, for a program that is not berth.
const (
	firstRetry = time.Millisecond
	lastRetry  = 20 * time.Millisecond
)

// errReleased is the cause with which the permission ends when act has returned.
var errReleased = errors.New("holding has ended")

// FileLock is the guard that a lock file is. The kernel drops the lock with
// its process, so a crash leaves nothing to clean up.
//
// A lock file that cannot be used (a missing directory, a full or read-only file
// system, a file that another user made) does not stand before acting: the instance is
// acted for without the lock, and the journal tells so.
type FileLock struct {
	// Path returns the lock file of an instance.
	Path func(instance string) string
	// OwnDirectory makes the directory of the lock file, which then is the effective
	// user's alone, instead of expecting it.
	OwnDirectory bool
	// Former returns where an earlier version of berth has the same lock, or "". It is
	// taken after Path. Former may be nil.
	Former  func(instance string) string
	Timeout time.Duration // for both
	// Busy makes the process that holds the lock at path let go, and returns when
	// that is done or not possible. It returns nil if it can name no process; the
	// lock is then tried again.
	Busy func(ctx context.Context, instance, path string) error
	// Record, which may be nil, makes this process be found by a successor that wants
	// it to let go of the instance. locked are the lock files that are held, none if
	// none could be used. An error that is returned before act was called is that of
	// While. leave, which may be nil, is called before the locks are given up.
	Record func(ctx context.Context, instance string, locked []string) (leave func() error, err error)
	// RecordAfter is how long after the locks were taken Record is called, beside act
	// and for one instance at a time, so that a burst of claims has the processors; an
	// error is a warning then. With 0, and where no lock file could be used, Record is
	// called before act.
	RecordAfter time.Duration
	Journal     *journal.Journal

	recording sync.Mutex
}

// While locks the instance and calls act once, after which it has unlocked it. The error
// of an instance that cannot be locked within Timeout names the lock file. An
// instance that cannot be unlocked is the error of While where act returned nil; else the
// journal tells it.
func (l *FileLock) While(ctx context.Context, instance string, act Act) (err error) {
	held, err := l.acquire(ctx, instance)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var recording sync.WaitGroup
	defer func() {
		cancel(errReleased)
		recording.Wait()
		switch rerr := held.release(); {
		case rerr == nil:
		case err == nil:
			err = fmt.Errorf("unlock %s: %w", instance, rerr)
		default:
			l.Journal.Tell(notUnlocked, zap.String("instance", instance), zap.Error(rerr))
		}
	}()
	switch {
	case l.Record == nil:
	case l.RecordAfter == 0 || len(held.files) == 0:
		if held.leave, err = l.Record(ctx, instance, held.paths()); err != nil {
			return err
		}
	default:
		recording.Go(func() {
			select {
			case <-ctx.Done():
				return // no successor will find the lock held
			case <-time.After(l.RecordAfter):
			}
			l.recording.Lock()
			defer l.recording.Unlock()
			var err error
			if held.leave, err = l.Record(ctx, instance, held.paths()); err != nil && ctx.Err() == nil {
				l.Journal.Tell(notRecorded, zap.String("instance", instance), zap.Error(err))
			}
		})
	}
	return act(ctx, NewPermit(ctx))
}

// locks are the lock files that are held, and what else is to be given up with them.
type locks struct {
	files []*files.LockFile
	leave func() error
}

func (l *locks) paths() []string {
	var paths []string
	for _, f := range l.files {
		paths = append(paths, f.Path())
	}
	return paths
}

func (l *locks) release() error {
	var errs []error
	if l.leave != nil {
		errs = append(errs, l.leave())
	}
	for _, f := range l.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// acquire blocks until all locks that can be used are held, Timeout has passed or
// ctx ends.
func (l *FileLock) acquire(ctx context.Context, instance string) (*locks, error) {
	path := l.Path(instance)
	paths := []string{path}
	tell := func(file string, err error) {
		switch {
		case file == path:
			l.Journal.Tell(lockUnusable, zap.String("instance", instance), zap.Error(err))
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.EROFS):
			// An earlier version cannot have it either.
		default:
			l.Journal.Tell(formerUnusable, zap.String("instance", instance), zap.Error(err))
		}
	}
	if l.OwnDirectory {
		if err := files.OwnDirectory(filepath.Dir(path)); err != nil && !scarce(err) {
			tell(path, fmt.Errorf("make the lock's directory: %w", err))
			paths = nil
		}
	}
	if l.Former != nil {
		if former := l.Former(instance); former != "" {
			paths = append(paths, former)
		}
	}
	held := &locks{}
	deadline := time.Now().Add(l.Timeout)
	for _, path := range paths {
		waitCtx, cancel := context.WithDeadlineCause(ctx, deadline,
			fmt.Errorf("lock %s was not free within the lock timeout of %v", path, l.Timeout))
		f, err := l.wait(waitCtx, instance, path)
		cancel()
		var unusable *unusableError
		switch {
		case errors.As(err, &unusable):
			tell(path, unusable.cause)
		case err != nil:
			return nil, errors.Join(err, held.release())
		default:
			held.files = append(held.files, f)
		}
	}
	return held, nil
}

// scarce reports whether an error says nothing of the file: there are no
// descriptors, or no memory, for now.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// unusableError says that a lock file cannot be used.
type unusableError struct{ cause error }

func (e *unusableError) Error() string { return e.cause.Error() }

// wait returns the locked file, or an *unusableError if the file cannot be used.
func (l *FileLock) wait(ctx context.Context, instance, path string) (*files.LockFile, error) {
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		f, err := files.Lock(path)
		switch {
		case err == nil:
			return f, nil
		case scarce(err): // tried again, as a lock that another process holds
		case !errors.Is(err, files.ErrLocked):
			return nil, &unusableError{unusable(path, err)}
		default:
			if err := l.Busy(ctx, instance, path); err != nil {
				return nil, fmt.Errorf("lock %s: %w", path, err)
			}
			if f, err := files.Lock(path); err == nil {
				return f, nil
			}
		}
		select {
		case <-ctx.Done():
			if scarce(err) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
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
