package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/files"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Opening or reading a file of any row in the usual way would block or use up the
// memory.
func TestOnlyRegularFilesOfBoundedSizeAreRead(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := unix.Mkfifo(in("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, in("small"), "text\n")
	write(t, in("large"), strings.Repeat("x", 101))
	write(t, in("full"), strings.Repeat("x", 100))
	if err := os.Truncate(write(t, in("sparse"), ""), 1<<40); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink("small", in("link")), os.Link(in("full"), in("second name"))); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		path           string
		want, wantOwn  string
		err, errForOwn error
	}{
		{in("small"), "text\n", "text\n", nil, nil},
		{in("link"), "text\n", "", nil, unix.ELOOP},
		{in("full"), strings.Repeat("x", 100), "", nil, files.ErrForeign},
		{in("large"), "", "", files.ErrTooLarge, files.ErrTooLarge},
		{in("sparse"), "", "", files.ErrTooLarge, files.ErrTooLarge},
		{in("fifo"), "", "", files.ErrNotRegular, files.ErrNotRegular},
		{in("none"), "", "", os.ErrNotExist, os.ErrNotExist},
		{dir, "", "", files.ErrNotRegular, files.ErrNotRegular},
		{"/dev/zero", "", "", files.ErrNotRegular, files.ErrNotRegular},
	} {
		if got, err := files.Read(row.path, 100); string(got) != row.want || !errors.Is(err, row.err) {
			t.Errorf("Read %s: got %q and %v, want %q and %v", row.path, got, err, row.want, row.err)
		}
		got, err := files.ReadOwn(row.path, 100)
		if string(got) != row.wantOwn || !errors.Is(err, row.errForOwn) {
			t.Errorf("ReadOwn %s: got %q and %v, want %q and %v", row.path, got, err, row.wantOwn, row.errForOwn)
		}
		if err != nil && !strings.Contains(err.Error(), row.path) {
			t.Errorf("%v does not name %s", err, row.path)
		}
	}
}

// The file of the kernel's messages is regular to stat(2), and a read blocks while
// there is no message.
func TestRegularFileThatWaitsLikeAPipeIsGivenUp(t *testing.T) {
	st, err := os.Stat("/proc/kmsg")
	if err != nil || !st.Mode().IsRegular() {
		t.Skipf("no such file here: %v, %v", st, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := files.Read("/proc/kmsg", 1<<20)
		done <- err
	}()
	select {
	case err := <-done:
		t.Log(err) // or what there was to read
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

func TestAFileOfAnotherUserIsNotOurs(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("BERTH_TEST_REQUIRE_ROOT") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root to give a file away")
	}
	path := write(t, filepath.Join(t.TempDir(), "record"), "x")
	if err := os.Chown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := files.ReadOwn(path, 100); !errors.Is(err, files.ErrForeign) {
		t.Errorf("got %v, want ErrForeign", err)
	}
}

func TestReplaceGoesThroughNoLinkAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	victim := write(t, filepath.Join(dir, "victim"), "root's")
	path := filepath.Join(dir, "status")
	if err := os.Symlink(victim, path); err != nil {
		t.Fatal(err)
	}
	if err := files.Replace(path, []byte("ours"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(victim); err != nil || string(text) != "root's" {
		t.Errorf("what the link led to is now %q, %v", text, err)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode() != 0o644 {
		t.Errorf("got %v, %v; want a regular file with mode 0644", st.Mode(), err)
	}
	// Nothing is replaced where a directory is at the path.
	blocked := filepath.Join(dir, "blocked")
	if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := files.Replace(blocked, []byte("ours"), 0o644); err == nil {
		t.Error("replaced a directory")
	}
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "identity")
	if err := files.Create(path, []byte("first"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := files.Create(path, []byte("second"), 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("want fs.ErrExist, got %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "first" {
		t.Errorf("want the first content, got %q, %v", text, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
