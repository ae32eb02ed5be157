package guard_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/guard"
	"berth/internal/files"

	"golang.org/x/sys/unix"
)

// fileLock returns a lock that nobody is asked for, and what it says of files
// that it cannot use.
func fileLock(t *testing.T, path, former string) (*guard.FileLock, *[]string) {
	said := &[]string{}
	return &guard.FileLock{
		Path: path, Former: former, Timeout: time.Minute,
		Busy: func(_ context.Context, path string) error {
			t.Errorf("somebody is asked to let go of %s", path)
			return errors.New("not expected")
		},
		Unusable: func(path string, err error) { *said = append(*said, path+": "+err.Error()) },
	}, said
}

// A MASTER acts without a lock file rather than not at all.
func TestLockFileThatCannotBeUsedIsToldAndDoesNotStandBeforeActing(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(unix.Mkfifo(in("fifo"), 0o666), os.Symlink("/etc/passwd", in("link")), os.Mkdir(in("directory"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"none/lock": "the directory does not exist; run: mkdir -p " + in("none"),
		"fifo":      "not a regular file; run: rm " + in("fifo"),
		"link":      "too many levels of symbolic links",
		"directory": "is a directory",
	} {
		l, said := fileLock(t, in(name), "")
		permit, err := l.Acquire(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := permit.Check(t.Context()); err != nil || len(permit.Files()) != 0 {
			t.Errorf("%s: the permit says %v and has %v", name, err, permit.Files())
		}
		if len(*said) != 1 || !strings.Contains((*said)[0], want) || !strings.HasPrefix((*said)[0], in(name)) {
			t.Errorf("%s: told %q, want %q once", name, *said, want)
		}
		if err := permit.Release(errors.New("done")); err != nil {
			t.Error(err)
		}
	}
}

func TestOwnDirectoryIsMadeForTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "lock", "VI_1.lock")
	l, said := fileLock(t, path, "")
	l.OwnDirectory = true
	permit, err := l.Acquire(t.Context())
	if err != nil || !slices.Equal(permit.Files(), []string{path}) || len(*said) != 0 {
		t.Fatalf("got %v, %v, told %q", permit, err, *said)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, %v", st.Mode(), err)
	}
}

// An upgrade and a downgrade: whoever has the lock at the former path is a holder.
func TestLockOfAnEarlierVersionIsTakenTooAndItsHolderAskedToLetGo(t *testing.T) {
	dir := t.TempDir()
	path, former := filepath.Join(dir, "new"), filepath.Join(dir, "old")
	synctest.Test(t, func(t *testing.T) {
		theirs, err := files.Lock(former)
		if err != nil {
			t.Fatal(err)
		}
		l, said := fileLock(t, path, former)
		asked := ""
		l.Busy = func(_ context.Context, path string) error {
			asked = path
			return theirs.Close()
		}
		permit, err := l.Acquire(t.Context())
		if err != nil || asked != former || len(*said) != 0 || !slices.Equal(permit.Files(), []string{path, former}) {
			t.Fatalf("got %v, asked %q, told %q", err, asked, *said)
		}
		for _, p := range []string{path, former} {
			if _, err := files.Lock(p); !errors.Is(err, files.ErrLocked) {
				t.Errorf("%s: got %v, want it locked", p, err)
			}
		}
		also := 0
		permit.Also(func() error { also++; return nil })
		if err := permit.Release(errors.New("done")); err != nil || also != 1 {
			t.Errorf("got %v, and the other thing was given back %d times", err, also)
		}
		for _, p := range []string{path, former} {
			f, err := files.Lock(p)
			if err != nil {
				t.Fatalf("%s after the release: %v", p, err)
			}
			f.Close()
		}
		// One that does not let go costs the lock timeout, and nothing is left held.
		theirs, err = files.Lock(former)
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		l.Busy = func(context.Context, string) error { return nil }
		begun := time.Now()
		if _, err := l.Acquire(t.Context()); err == nil || !strings.Contains(err.Error(), "lock "+former+" was not free") || time.Since(begun) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
		if f, err := files.Lock(path); err != nil {
			t.Errorf("the first lock is still held: %v", err)
		} else {
			f.Close()
		}
	})
}

func TestFormerPathThatSomebodyElseTookDelaysNothing(t *testing.T) {
	dir := t.TempDir()
	path, former := filepath.Join(dir, "new"), filepath.Join(dir, "old")
	if err := unix.Mkfifo(former, 0o666); err != nil {
		t.Fatal(err)
	}
	l, said := fileLock(t, path, former)
	permit, err := l.Acquire(t.Context())
	if err != nil || !slices.Equal(permit.Files(), []string{path}) || len(*said) != 1 || !strings.HasPrefix((*said)[0], former) {
		t.Errorf("got %v, told %q", err, *said)
	}
}

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

func TestALockIsWaitedForWhileThereAreNoDescriptors(t *testing.T) {
	l, said := fileLock(t, filepath.Join(t.TempDir(), "lock"), "")
	restore := exhaust(t)
	time.AfterFunc(50*time.Millisecond, restore)
	p, err := l.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Release(errors.New("test is over")); err != nil || len(*said) != 0 {
		t.Errorf("got %v, told %q", err, *said)
	}
}

func TestALockWithoutDescriptorsUntilTheTimeoutIsNotUnusable(t *testing.T) {
	l, said := fileLock(t, filepath.Join(t.TempDir(), "lock"), "")
	l.Timeout = 50 * time.Millisecond
	restore := exhaust(t)
	_, err := l.Acquire(t.Context())
	restore()
	if len(*said) != 0 || !errors.Is(err, unix.EMFILE) {
		t.Errorf("want that there are no descriptors, so that it is tried again, got %v", err)
	}
}
