package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestReaderEnlargesThePipe(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	f := keepalived(t, r.path)
	rc, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	if err := rc.Control(func(fd uintptr) { size, _ = unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) }); err != nil {
		t.Fatal(err)
	}
	if size != 1<<20 {
		t.Errorf("the pipe holds %d bytes, want 1 MiB", size)
	}
}

// fill writes lines as keepalived does, until one is dropped, or n.
func fill(t *testing.T, f *os.File, n int) int {
	t.Helper()
	rc, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	written := 0
	if err := rc.Control(func(fd uintptr) {
		for ; written < n; written++ {
			if _, err := unix.Write(int(fd), fmt.Appendf(nil, "INSTANCE \"VI_%d\" MASTER 100\n", written%300)); err != nil {
				return // EAGAIN, on which keepalived drops the line
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return written
}

func TestReaderKnowsFromTheBacklogWhetherLinesWereLost(t *testing.T) {
	for _, row := range []struct {
		name  string
		lines int
		lost  bool
	}{
		{"full", 1 << 30, true},
		{"half full", 1000, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fifo")
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			f := keepalived(t, path)
			n := fill(t, f, row.lines)
			r := start(t, path)
			from, other := r.bursts, r.lost
			if row.lost {
				from, other = r.lost, r.bursts
			}
			select {
			case evs := <-from:
				if len(evs) != n {
					t.Errorf("handed on %d events, want %d", len(evs), n)
				}
			default:
				t.Error("nothing was handed on by the wanted function")
			}
			if len(other) != 0 {
				t.Error("events were handed on by the other function")
			}
			// Afterwards the pipe is larger, and events are handed on as before.
			write(t, f, "INSTANCE \"a\" BACKUP 1\n")
			if diff := cmp.Diff([]string{"a BACKUP"}, r.next(t)); diff != "" {
				t.Errorf("burst (-want +got):\n%s", diff)
			}
		})
	}
}

// A reader that does not read for long finds the enlarged pipe full.
func TestReaderKnowsWhenTheEnlargedPipeWasFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	first := start(t, path)
	f := keepalived(t, path)
	if err := first.stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// 60 KiB are not an overflow of a pipe of 1 MiB.
	fill(t, f, 3000)
	second := start(t, path)
	if len(second.lost) != 0 || len(second.bursts) == 0 {
		t.Errorf("%d bursts with and %d without loss, want none with", len(second.lost), len(second.bursts))
	}
	if err := second.stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	fill(t, f, 1<<30)
	third := start(t, path)
	if len(third.lost) != 1 {
		t.Errorf("%d bursts with loss, want one", len(third.lost))
	}
}
