package files_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"berth/internal/files"

	"golang.org/x/sys/unix"
)

func TestLockIsHeldUntilItsFileIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := files.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Lock(path); !errors.Is(err, files.ErrLocked) {
		t.Errorf("while it is held: got %v, want ErrLocked", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := files.Lock(path)
	if err != nil {
		t.Fatalf("after it was let go: %v", err)
	}
	second.Close()
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("got %v, %v; want a file that others cannot open", st.Mode(), err)
	}
}

// Each row is a file that another user can make in a directory that is open to every
// user, before berth's first lock.
func TestLockFileThatOthersMadeIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, in("victim"), "root's")
	write(t, in("first name"), "")
	err := errors.Join(unix.Mkfifo(in("fifo"), 0o666), os.Symlink(in("victim"), in("link")), os.Symlink(in("none"), in("dangling")),
		os.Mkdir(in("directory"), 0o777), os.Link(in("first name"), in("second name")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"fifo": files.ErrNotRegular, "link": unix.ELOOP, "dangling": unix.ELOOP, "directory": unix.EISDIR,
		"second name": files.ErrForeign, "missing/lock": os.ErrNotExist,
	} {
		if f, err := files.Lock(in(name)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v; want %v", name, f, err, want)
		}
	}
	if text, err := os.ReadFile(in("victim")); err != nil || string(text) != "root's" {
		t.Errorf("what the link led to is now %q, %v", text, err)
	}
	if os.Geteuid() != 0 {
		return
	}
	// A file that its owner has locked is refused too, because waiting for it would be
	// waiting for another user.
	foreign := write(t, in("foreign"), "")
	theirs, err := files.Lock(foreign)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if err := os.Chown(foreign, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Lock(foreign); !errors.Is(err, files.ErrForeign) {
		t.Errorf("another user's file, locked: got %v, want ErrForeign", err)
	}
}

func TestOwnDirectoryExcludesOtherUsers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "lock")
	for range 2 {
		if err := files.OwnDirectory(dir); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(dir); err != nil || st.Mode() != os.ModeDir|0o700 {
			t.Errorf("got %v, %v; want mode 0700", st.Mode(), err)
		}
		if err := os.Chmod(dir, 0o777); err != nil { // and it is mended
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := files.OwnDirectory(link); !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link to a directory: got %v, want a refusal", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if err := files.OwnDirectory(dir); !errors.Is(err, files.ErrForeign) {
			t.Errorf("another user's directory: got %v, want ErrForeign", err)
		}
	}
}

func TestPipeIsReadToItsEndOrRefused(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := fmt.Sprint("/proc/self/fd/", r.Fd())
	if _, err := w.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if text, err := files.ReadPipe(path, 100); err != nil || string(text) != "text" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := files.ReadPipe(path, 100); err == nil {
		t.Error("an empty pipe without a writer: want an error")
	}
}
