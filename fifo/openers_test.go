package fifo_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"berth/fifo"
	"berth/internal/testnet"

	"golang.org/x/sys/unix"
)

// settle waits until what the kernel tells about the writers fulfils cond.
func (r *running) settle(t *testing.T, what string, cond func(fifo.Writing) bool) {
	t.Helper()
	end := time.Now().Add(eventually)
	for tick := time.Tick(5 * time.Millisecond); !cond(r.reader.Writing()); <-tick {
		if time.Now().After(end) {
			t.Fatalf("want %s, got %+v", what, r.reader.Writing())
		}
	}
}

func TestReaderKnowsWhetherAProcessHasTheFIFOOpenForWriting(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	if got := r.reader.Writing(); got.Stayed || got.None.IsZero() {
		t.Errorf("before the first writer: %+v, want no writer, and none that stayed", got)
	}
	f := keepalived(t, r.path)
	r.settle(t, "a writer that stays", func(w fifo.Writing) bool { return w.Stayed && w.None.IsZero() })
	write(t, f, "INSTANCE \"a\" MASTER 1\n")
	f.Close()
	r.settle(t, "the writer to have closed it", func(w fifo.Writing) bool { return w.Stayed && !w.None.IsZero() })
	if got := r.next(t); len(got) != 1 {
		t.Errorf("got %v, want what was written before the close", got)
	}
	// keepalived opens it again, as at a reload.
	keepalived(t, r.path)
	r.settle(t, "the writer again", func(w fifo.Writing) bool { return w.Stayed && w.None.IsZero() })
}

func TestWriterOfASingleLineDoesNotStay(t *testing.T) {
	// On a busy machine a write that is meant to be short may take long.
	const tries = 20
	var r *running
	for n := 1; ; n++ {
		r = start(t, filepath.Join(t.TempDir(), "fifo"))
		begun := time.Now()
		f := keepalived(t, r.path)
		write(t, f, "INSTANCE \"a\" MASTER 1\n")
		f.Close()
		r.next(t)
		took := time.Since(begun)
		if took < 500*time.Millisecond {
			break
		}
		if n == tries {
			t.Fatalf("no write was short, the last took %v", took)
		}
	}
	r.settle(t, "no writer", func(w fifo.Writing) bool { return !w.None.IsZero() })
	if r.reader.Writing().Stayed {
		t.Error("a writer of one line is taken for one that stays")
	}
}

// No process has closed a FIFO that was replaced while it was open for writing.
func TestReplacingTheFIFOIsNotTakenForTheEndOfItsWriter(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	keepalived(t, r.path)
	r.settle(t, "a writer that stays", func(w fifo.Writing) bool { return w.Stayed })
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.settle(t, "no writer of the new FIFO, and none that stayed", func(w fifo.Writing) bool { return !w.Stayed && !w.None.IsZero() })
}

func TestOpenInTellsTheFIFOFromTheOneThatReplacedIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	r := start(t, path)
	open := func() bool {
		t.Helper()
		byReader, err := r.reader.OpenIn(os.Getpid())
		byPath, err2 := fifo.OpenIn(os.Getpid(), path)
		if err != nil || err2 != nil || byReader != byPath {
			t.Fatalf("by the reader %v, %v; by the path %v, %v", byReader, err, byPath, err2)
		}
		return byReader
	}
	if !open() {
		t.Error("want the reader's own descriptor to be found")
	}
	if _, err := fifo.OpenIn(os.Getpid(), path+".none"); err == nil {
		t.Error("want an error for a FIFO that is not there")
	}
	// Another process has the former FIFO open.
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{keepalived(t, path)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if got, err := r.reader.OpenIn(cmd.Process.Pid); !got || err != nil {
		t.Errorf("open in the writer: %v, %v; want it found", got, err)
	}
	if err := os.Rename(path, path+".former"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := fifo.OpenIn(cmd.Process.Pid, path); got || err != nil {
		t.Errorf("the new FIFO is open in the writer: %v, %v; want that it is not", got, err)
	}
	if got, err := fifo.OpenIn(1<<30, path); got || err != nil {
		t.Errorf("open in a process that does not exist: %v, %v", got, err)
	}
}

func TestDescriptorsThatMayNotBeReadAreAnError(t *testing.T) {
	testnet.Require(t)
	path := filepath.Join(t.TempDir(), "fifo")
	start(t, path)
	// The same call, as a user that may not read them.
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all",
		os.Args[0])
	cmd.Env = append(os.Environ(), openInEnv+"=1")
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if testing.Verbose() {
		t.Logf("%s", out)
	}
}

// TestMain has this program, as another user, read the descriptors of its parent for
// TestDescriptorsThatMayNotBeReadAreAnError.
func TestMain(m *testing.M) {
	if os.Getenv(openInEnv) == "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "fifo")
	if err == nil {
		path := filepath.Join(dir, "fifo")
		if err = unix.Mkfifo(path, 0o600); err == nil {
			if got, openErr := fifo.OpenIn(os.Getppid(), path); got || openErr == nil {
				err = fmt.Errorf("open in a process of root: %v, %v; want an error", got, openErr)
			}
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// openInEnv, when set, has this program call OpenIn for its parent and end.
const openInEnv = "BERTH_TEST_OPEN_IN_PARENT"
