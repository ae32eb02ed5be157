package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/fifo"
)

func TestLockWaitsForTheEndOfTheFormerReader(t *testing.T) {
	for _, row := range []struct {
		name    string
		leaves  time.Duration // after which the first unlocks
		refused bool
	}{
		{"that ends in time", 4 * time.Second, false},
		{"that stays", 6 * time.Second, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fifo")
			synctest.Test(t, func(t *testing.T) {
				unlock, err := fifo.Lock(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				first := time.AfterFunc(row.leaves, func() {
					if err := unlock(); err != nil {
						t.Error(err)
					}
				})
				defer first.Stop()
				begun := time.Now()
				second, err := fifo.Lock(t.Context(), path)
				took := time.Since(begun)
				if row.refused {
					if !errors.Is(err, fifo.ErrBusy) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
						t.Errorf("got %v, want a refusal that names the FIFO and the other process", err)
					}
					if took != 5*time.Second {
						t.Errorf("refused after %v, want 5s", took)
					}
					time.Sleep(time.Minute) // the first unlocks
					return
				}
				if err != nil || took < row.leaves || took > row.leaves+100*time.Millisecond {
					t.Errorf("got %v after %v, want the lock as soon as it is free", err, took)
				}
				if err := second(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	synctest.Test(t, func(t *testing.T) {
		unlock, err := fifo.Lock(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		stopped := errors.New("stopped")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, stopped)
		defer cancel()
		if _, err := fifo.Lock(ctx, path); !errors.Is(err, stopped) {
			t.Errorf("got %v, want the cause", err)
		}
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
}

func TestLockThatCannotBeMadeIsNotTakenForABusyOne(t *testing.T) {
	if _, err := fifo.Lock(t.Context(), filepath.Join(t.TempDir(), "none", "fifo")); err == nil || errors.Is(err, fifo.ErrBusy) {
		t.Errorf("got %v, want an error that is not ErrBusy", err)
	}
}

// A lock file is not removed with its process, and may come from another PID namespace.
func TestReaderOfNamesOnlyAProcessThatHasTheLockOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	want := func(pid int) {
		t.Helper()
		if got, err := fifo.ReaderOf(path); got != pid || err != nil {
			t.Errorf("reader %d, %v; want %d", got, err, pid)
		}
	}
	want(0)
	unlock, err := fifo.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	want(os.Getpid())
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	want(0)
	if err := os.WriteFile(path+".lock", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(0)
}
