package guard_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/guard"

	"golang.org/x/sys/unix"
)

// exhaust leaves this process no descriptors until the returned function is called.
func exhaust(t *testing.T) (restore func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	free, err := os.Open("/dev/null") // its number is the lowest that is free
	if err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(free.Fd())
	free.Close()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}

func newLock(t *testing.T, timeout time.Duration) *guard.FileLock {
	return &guard.FileLock{Path: filepath.Join(t.TempDir(), "lock"), Timeout: timeout,
		Busy: func(context.Context) error { return errors.New("nobody holds it") }}
}

func TestALockIsWaitedForWhileThereAreNoDescriptors(t *testing.T) {
	l := newLock(t, time.Minute)
	restore := exhaust(t)
	time.AfterFunc(50*time.Millisecond, restore)
	p, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Release(errors.New("test is over")); err != nil {
		t.Error(err)
	}
}

func TestALockWithoutDescriptorsUntilTheTimeoutIsNotUnusable(t *testing.T) {
	l := newLock(t, 50*time.Millisecond)
	restore := exhaust(t)
	_, err := l.Acquire(t.Context())
	restore()
	if _, unusable := errors.AsType[*guard.UnusableError](err); unusable || !errors.Is(err, unix.EMFILE) {
		t.Errorf("want that there are no descriptors, so that it is tried again, got %v", err)
	}
}

func TestALockInADirectoryThatIsMissingIsUnusable(t *testing.T) {
	l := &guard.FileLock{Path: filepath.Join(t.TempDir(), "none", "lock"), Timeout: time.Minute}
	if _, err := l.Acquire(t.Context()); err == nil {
		t.Error("want an error")
	} else if _, unusable := errors.AsType[*guard.UnusableError](err); !unusable {
		t.Errorf("got %v", err)
	}
}
