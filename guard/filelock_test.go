package guard_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"berth/guard"
	"berth/internal/files"
	"berth/internal/journal"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// fileLock returns a lock that no process is asked for, and the lines that it logs.
func fileLock(t *testing.T, path, former string) (*guard.FileLock, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return &guard.FileLock{
		Path:    func(string) string { return path },
		Former:  func(string) string { return former },
		Timeout: time.Minute,
		Busy: func(_ context.Context, _, path string) error {
			t.Errorf("a process is asked to let go of %s", path)
			return errors.New("not expected")
		},
		Journal: journal.New(zap.New(core)),
	}, logs
}

// locked reports whether another process could not lock the file.
func locked(t *testing.T, path string) bool {
	t.Helper()
	f, err := files.Lock(path)
	if err == nil {
		return f.Close() != nil
	}
	if !errors.Is(err, files.ErrLocked) {
		t.Errorf("lock %s: %v", path, err)
	}
	return true
}

var errDone = errors.New("done")

// done is an act that has nothing to do.
func done(context.Context, *guard.Permit) error { return errDone }

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
		l, logs := fileLock(t, in(name), "")
		l.RecordAfter = time.Hour // which is for a lock that is held
		recorded, left := false, false
		l.Record = func(_ context.Context, instance string, locked []string) (func() error, error) {
			recorded = instance == "VI_1" && len(locked) == 0
			return func() error { left = true; return nil }, nil
		}
		err := l.While(t.Context(), "VI_1", func(ctx context.Context, p *guard.Permit) error {
			if err := p.Check(ctx); err != nil {
				t.Errorf("%s: the permit says %v", name, err)
			}
			if !recorded || left {
				t.Errorf("%s: recorded before acting: %v, left: %v", name, recorded, left)
			}
			return errDone
		})
		if err != errDone || !left {
			t.Errorf("%s: got %v, left: %v", name, err, left)
		}
		said := logs.All()
		if len(said) != 1 || said[0].Level != zapcore.ErrorLevel || said[0].ContextMap()["instance"] != "VI_1" ||
			!strings.Contains(fmt.Sprint(said[0].ContextMap()["error"]), want) {
			t.Errorf("%s: told %v, want an error with %q", name, said, want)
		}
	}
}

func TestOwnDirectoryIsMadeForTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "lock", "VI_1.lock")
	l, logs := fileLock(t, path, "")
	l.OwnDirectory = true
	err := l.While(t.Context(), "VI_1", func(context.Context, *guard.Permit) error {
		if !locked(t, path) {
			t.Error("it is not locked")
		}
		return errDone
	})
	if err != errDone || logs.Len() != 0 {
		t.Fatalf("got %v, told %v", err, logs.All())
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, %v", st.Mode(), err)
	}
}

// An upgrade and a downgrade: the process that has the lock at the former path is a
// holder too.
func TestLockOfAnEarlierVersionIsTakenTooAndItsHolderAskedToLetGo(t *testing.T) {
	dir := t.TempDir()
	path, former := filepath.Join(dir, "new"), filepath.Join(dir, "old")
	synctest.Test(t, func(t *testing.T) {
		theirs, err := files.Lock(former)
		if err != nil {
			t.Fatal(err)
		}
		l, logs := fileLock(t, path, former)
		asked := ""
		l.Busy = func(_ context.Context, _, path string) error {
			asked = path
			return theirs.Close()
		}
		err = l.While(t.Context(), "VI_1", func(context.Context, *guard.Permit) error {
			if asked != former || !locked(t, path) || !locked(t, former) {
				t.Errorf("asked to let go of %q; locked: %v, %v", asked, locked(t, path), locked(t, former))
			}
			return errDone
		})
		if err != errDone || logs.Len() != 0 || locked(t, path) || locked(t, former) {
			t.Errorf("got %v, told %v; locked afterwards: %v, %v", err, logs.All(), locked(t, path), locked(t, former))
		}
		// One that does not let go costs the lock timeout, and no lock stays held.
		theirs, err = files.Lock(former)
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		l.Busy = func(context.Context, string, string) error { return nil }
		begun := time.Now()
		err = l.While(t.Context(), "VI_1", done)
		if err == nil || !strings.Contains(err.Error(), "lock "+former+" was not free") || time.Since(begun) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
		if locked(t, path) {
			t.Error("the first lock is still held")
		}
	})
}

func TestFormerPathThatAnotherUserTookDelaysNothing(t *testing.T) {
	dir := t.TempDir()
	path, former := filepath.Join(dir, "new"), filepath.Join(dir, "old")
	if err := unix.Mkfifo(former, 0o666); err != nil {
		t.Fatal(err)
	}
	l, logs := fileLock(t, path, former)
	err := l.While(t.Context(), "VI_1", func(context.Context, *guard.Permit) error {
		if !locked(t, path) {
			t.Error("the instance is not locked")
		}
		return errDone
	})
	if said := logs.All(); err != errDone || len(said) != 1 || said[0].Level != zapcore.WarnLevel {
		t.Errorf("got %v, told %v", err, said)
	}
}

func TestALockEndsWithTheProcessOfTheFormerStateOrItsError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	theirs, err := files.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	l, _ := fileLock(t, path, "")
	superseded := errors.New("superseded")
	l.Busy = func(context.Context, string, string) error { return superseded }
	if err := l.While(t.Context(), "VI_1", done); !errors.Is(err, superseded) {
		t.Errorf("got %v, want the error of Busy", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	demoted := errors.New("demoted")
	l.Busy = func(context.Context, string, string) error { cancel(demoted); return nil }
	if err := l.While(ctx, "VI_1", done); !errors.Is(err, demoted) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestAProcessThatMayNotGoOnRecordGivesTheLockUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, _ := fileLock(t, path, "")
	superseded := errors.New("superseded")
	l.Record = func(_ context.Context, _ string, files []string) (func() error, error) {
		if !locked(t, path) || !slices.Equal(files, []string{path}) {
			t.Errorf("recorded with %v", files)
		}
		return nil, superseded
	}
	if err := l.While(t.Context(), "VI_1", done); err != superseded || locked(t, path) {
		t.Errorf("got %v; locked: %v", err, locked(t, path))
	}
}

// The record of a service serves only a notify script that finds the lock held: it can
// wait until the claims of a burst are out.
func TestRecordsOfABurstAreWrittenAfterTheClaimsOneAtATime(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, _ := fileLock(t, "", "")
		l.Path = func(instance string) string { return filepath.Join(dir, instance) }
		l.RecordAfter = 200 * time.Millisecond
		var at []time.Duration
		begun := time.Now()
		l.Record = func(context.Context, string, []string) (func() error, error) {
			at = append(at, time.Since(begun)) // a race where two are written at a time
			return nil, nil
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			wg.Go(func() {
				_ = l.While(ctx, name, func(ctx context.Context, _ *guard.Permit) error {
					if time.Since(begun) != 0 {
						t.Errorf("acting after %v", time.Since(begun))
					}
					<-ctx.Done()
					return context.Cause(ctx)
				})
			})
		}
		time.Sleep(time.Minute)
		cancel(errDone)
		wg.Wait()
		if want := []time.Duration{200 * time.Millisecond, 200 * time.Millisecond}; !slices.Equal(at, want) {
			t.Errorf("recorded after %v, want %v", at, want)
		}
		// One that has ended by then is not put on record, nor waited for.
		begun, at = time.Now(), nil
		if err := l.While(t.Context(), "a", done); err != errDone || time.Since(begun) != 0 || at != nil {
			t.Errorf("got %v after %v, recorded after %v", err, time.Since(begun), at)
		}
	})
}

// A process that acts until a signal ends it has no exit status for this; one that only
// takes the lock has.
func TestAnInstanceThatCannotBeUnlockedIsTheErrorOfAnActThatSucceeded(t *testing.T) {
	broken := errors.New("close the socket: input/output error")
	for _, acted := range []error{nil, errDone} {
		l, logs := fileLock(t, filepath.Join(t.TempDir(), "lock"), "")
		l.Record = func(context.Context, string, []string) (func() error, error) {
			return func() error { return broken }, nil
		}
		err := l.While(t.Context(), "VI_1", func(context.Context, *guard.Permit) error { return acted })
		told := logs.FilterMessage("cannot unlock the instance").FilterField(zap.String("instance", "VI_1")).Len()
		switch {
		case acted == nil && (!errors.Is(err, broken) || !strings.Contains(err.Error(), "unlock VI_1: ") || logs.Len() != 0):
			t.Errorf("got %v, told %v; want the error of unlocking, told by the caller alone", err, logs.All())
		case acted != nil && (err != acted || told != 1 || logs.Len() != 1):
			t.Errorf("got %v, told %v; want the error of act, and the other one told", err, logs.All())
		}
	}
}

func TestThePermitEndsWithTheLock(t *testing.T) {
	l, _ := fileLock(t, filepath.Join(t.TempDir(), "lock"), "")
	var kept *guard.Permit
	_ = l.While(t.Context(), "VI_1", func(_ context.Context, p *guard.Permit) error {
		kept = p
		return nil
	})
	if err := kept.Check(t.Context()); err == nil {
		t.Error("a write is permitted after the lock was given up")
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
	path := filepath.Join(t.TempDir(), "lock")
	l, logs := fileLock(t, path, "")
	restore := exhaust(t)
	time.AfterFunc(50*time.Millisecond, restore)
	err := l.While(t.Context(), "VI_1", func(context.Context, *guard.Permit) error {
		if !locked(t, path) {
			t.Error("it is not locked")
		}
		return errDone
	})
	if err != errDone || logs.Len() != 0 {
		t.Errorf("got %v, told %v", err, logs.All())
	}
}

func TestALockWithoutDescriptorsUntilTheTimeoutIsNotUnusable(t *testing.T) {
	l, logs := fileLock(t, filepath.Join(t.TempDir(), "lock"), "")
	l.Timeout = 50 * time.Millisecond
	restore := exhaust(t)
	err := l.While(t.Context(), "VI_1", done)
	restore()
	if logs.Len() != 0 || !errors.Is(err, unix.EMFILE) {
		t.Errorf("want that there are no descriptors, so that it is tried again, got %v", err)
	}
}
