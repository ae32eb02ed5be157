package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/fifo"
	"berth/internal/journal"
	"berth/vrrp"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// eventually bounds the wait for what must happen.
const eventually = 10 * time.Second

type running struct {
	path   string
	bursts chan []vrrp.Event
	lost   chan []vrrp.Event // bursts of which lines were lost
	logs   *observer.ObservedLogs
	events []journal.Event // to be read after Flush
	reader *fifo.Reader
	stop   func() error
}

// start runs a reader on a real FIFO.
func start(t *testing.T, path string) *running {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	r := &running{path: path, bursts: make(chan []vrrp.Event, 10000), lost: make(chan []vrrp.Event, 100), logs: logs}
	r.reader = fifo.NewReader(path, journal.New(zap.New(core), func(e journal.Event) { r.events = append(r.events, e) }))
	r.reader.Overflow = func(evs []vrrp.Event) { r.lost <- evs }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.reader.Run(ctx, func(evs []vrrp.Event) { r.bursts <- evs }) }()
	r.stop = func() error { cancel(); return <-done }
	t.Cleanup(func() { cancel() })
	// After Flush the reader has opened the FIFO.
	flushCtx, cancelFlush := context.WithTimeout(t.Context(), eventually)
	defer cancelFlush()
	r.reader.Flush(flushCtx)
	if flushCtx.Err() != nil {
		t.Fatal("the reader did not start")
	}
	return r
}

// keepalived opens the FIFO as keepalived does.
func keepalived(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// next returns the next burst as text.
func (r *running) next(t *testing.T) []string {
	t.Helper()
	select {
	case evs := <-r.bursts:
		var lines []string
		for _, ev := range evs {
			lines = append(lines, fmt.Sprintf("%s %v", ev.Instance, ev.State))
		}
		return lines
	case <-time.After(eventually):
		t.Fatal("no event arrived")
		return nil
	}
}

func TestReaderMakesAMissingFIFOForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	start(t, path)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("mode %v, want a FIFO with 0600", st.Mode())
	}
}

func TestReaderHandsOnABurstAsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Written before the reader opens: a burst that waits.
	f := keepalived(t, path)
	write(t, f, "INSTANCE \"a\" BACKUP 1\nGROUP \"g\" MASTER 0\nINSTANCE \"a\" MASTER 1\nINSTANCE \"b\" MASTER 1\n")
	r := start(t, path)
	want := []string{"a BACKUP", "a MASTER", "b MASTER"}
	if diff := cmp.Diff(want, r.next(t)); diff != "" {
		t.Errorf("burst (-want +got):\n%s", diff)
	}
}

func TestReaderSeesNoEndWhenTheWriterCloses(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	for _, name := range []string{"a", "b"} {
		f := keepalived(t, r.path)
		write(t, f, "INSTANCE \""+name+"\" MASTER 1\n")
		f.Close()
		if diff := cmp.Diff([]string{name + " MASTER"}, r.next(t)); diff != "" {
			t.Errorf("burst (-want +got):\n%s", diff)
		}
	}
}

func TestReaderFollowsAReplacedFIFOAndDrainsTheOldFirst(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	old := keepalived(t, r.path)
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(r.path, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := keepalived(t, r.path)
	write(t, old, "INSTANCE \"a\" STOP 1\n")
	write(t, fresh, "INSTANCE \"a\" MASTER 1\n")
	if diff := cmp.Diff([]string{"a STOP"}, r.next(t)); diff != "" {
		t.Errorf("first burst (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a MASTER"}, r.next(t)); diff != "" {
		t.Errorf("second burst (-want +got):\n%s", diff)
	}
}

func TestReaderMakesARemovedFIFOAgain(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(eventually)
	for {
		// Flush returns after a full turn of the reader.
		r.reader.Flush(t.Context())
		if _, err := os.Lstat(r.path); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the FIFO was not made again")
		}
	}
	write(t, keepalived(t, r.path), "INSTANCE \"a\" MASTER 1\n")
	if diff := cmp.Diff([]string{"a MASTER"}, r.next(t)); diff != "" {
		t.Errorf("burst (-want +got):\n%s", diff)
	}
}

func TestReaderSurvivesGarbageAndWarnsOnceForEach(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	f := keepalived(t, r.path)
	for range 3 {
		write(t, f, "garbage\x00\xff\nINSTANCE \"a\" DREAMING 1\nINSTANCE \"b\" DREAMING 1\n"+strings.Repeat("x", 10000)+"\n")
	}
	write(t, f, "INSTANCE \"a\" MASTER 1\n")
	var last []string
	for len(last) == 0 || last[len(last)-1] != "a MASTER" {
		last = r.next(t)
	}
	var got []string
	for _, e := range r.logs.FilterLevelExact(zapcore.WarnLevel).All() {
		got = append(got, e.Message)
	}
	want := []string{"ignoring a FIFO line that keepalived cannot have written", "ignoring an unknown state word from keepalived", "skipping a FIFO line that is too long to be keepalived's"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestWarningsOfDifferentBadLinesAreBounded(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	f := keepalived(t, r.path)
	for n := range 60 {
		write(t, f, fmt.Sprintf("garbage %d\n", n))
	}
	r.reader.Flush(t.Context())
	if n := r.logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 50 {
		t.Errorf("%d warnings of 60 bad lines, want 50", n)
	}
	for _, e := range r.events {
		if e.Lasts {
			t.Fatalf("one stray line is a condition that holds: %+v", e)
		}
	}
}

func TestCatchUpReturnsAfterWhatWasWrittenIsHandedOn(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	f := keepalived(t, r.path)
	for n := range 100 {
		write(t, f, fmt.Sprintf("INSTANCE \"VI_%d\" MASTER 100\n", n))
		r.reader.CatchUp(t.Context())
		if len(r.bursts) != 1 {
			t.Fatalf("line %d: %d bursts, want one", n, len(r.bursts))
		}
		<-r.bursts
	}
}

func TestCatchUpDoesNotWaitForAnEmptyFIFO(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// Flush would wait for the reader.
	ctx, cancel := context.WithTimeout(t.Context(), eventually)
	defer cancel()
	if r.reader.CatchUp(ctx); ctx.Err() != nil {
		t.Error("CatchUp has waited although the FIFO is empty")
	}
}

func TestReaderFindsALineBehindGarbageWithoutAnEnd(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	f := keepalived(t, r.path)
	write(t, f, "gar\x00bage INSTANCE")
	write(t, f, "INSTANCE \"a\" BACKUP 1\n")
	if diff := cmp.Diff([]string{"a BACKUP"}, r.next(t)); diff != "" {
		t.Errorf("burst (-want +got):\n%s", diff)
	}
	if n := r.logs.FilterMessage("ignoring a FIFO line that keepalived cannot have written").Len(); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
}

func TestReaderTellsOfAReplacedFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	replaced := make(chan struct{}, 10)
	reader := fifo.NewReader(path, nil)
	reader.Replaced = func() { replaced <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- reader.Run(ctx, func([]vrrp.Event) {}) }()
	reader.Flush(ctx)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-replaced:
	case <-time.After(eventually):
		t.Error("Replaced was not called")
	}
	cancel()
	<-done
}

func TestReaderGivesTheFIFOItMakesToKeepalivedsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("BERTH_TEST_REQUIRE_ROOT") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root to give a file away")
	}
	path := filepath.Join(t.TempDir(), "fifo")
	reader := fifo.NewReader(path, nil)
	reader.Owner = func() (uid, gid int, known bool) { return 65534, 65534, true }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- reader.Run(ctx, func([]vrrp.Event) {}) }()
	reader.Flush(ctx)
	cancel()
	<-done
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Uid != 65534 || st.Gid != 65534 || st.Mode&0o777 != 0o600 {
		t.Errorf("owner %d:%d, mode %o, %v; want 65534:65534, 600", st.Uid, st.Gid, st.Mode, err)
	}
}

func TestReaderWarnsOfAFIFOThatOthersWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o622); err != nil {
		t.Fatal(err)
	}
	r := start(t, path)
	if n := r.logs.FilterMessageSnippet("other users may write").Len(); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
	for _, change := range []struct {
		mode os.FileMode
		text string
		n    int
	}{{0o600, "only its owner may write", 1}, {0o620, "other users may write", 2}, {0o600, "only its owner may write", 2}} {
		if err := os.Chmod(path, change.mode); err != nil {
			t.Fatal(err)
		}
		r.untilSaid(t, change.n, change.text)
	}
}

// untilSaid waits until the log has a number of lines with a text.
func (r *running) untilSaid(t *testing.T, n int, text string) {
	t.Helper()
	for end := time.Now().Add(eventually); r.logs.FilterMessageSnippet(text).Len() < n; {
		// Flush returns after a full turn of the reader.
		if r.reader.Flush(t.Context()); time.Now().After(end) {
			t.Fatalf("want %d times %q, got %v", n, text, r.logs.All())
		}
	}
}

func TestReaderTellsThatTheSameFIFOIsBackAtItsPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r := start(t, filepath.Join(dir, "fifo"))
	for n := range 2 {
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		r.untilSaid(t, n+1, "cannot open the new FIFO yet")
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		r.untilSaid(t, n+2, "reading keepalived's events")
	}
	write(t, keepalived(t, r.path), "INSTANCE \"a\" MASTER 1\n")
	if diff := cmp.Diff([]string{"a MASTER"}, r.next(t)); diff != "" {
		t.Errorf("burst (-want +got):\n%s", diff)
	}
}

func TestReaderRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, path, want string }{
		{"a regular file", file, "it is not a FIFO"},
		{"a directory", dir, "is a directory"},
		{"a symbolic link", link, "it is a symbolic link, which keepalived does not follow either; name the FIFO itself"},
		{"a missing directory", filepath.Join(dir, "no/fifo"), "mkdir -p " + filepath.Join(dir, "no")},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := fifo.NewReader(row.path, nil).Run(t.Context(), func([]vrrp.Event) {})
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), row.path) {
				t.Errorf("got %v, want an error with %q and the path", err, row.want)
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q now", text)
	}
}

func TestReaderHandsOnWhatIsThereWhenItStops(t *testing.T) {
	r := start(t, filepath.Join(t.TempDir(), "fifo"))
	write(t, keepalived(t, r.path), "INSTANCE \"a\" STOP 1\n")
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v, want the cause", err)
	}
	if diff := cmp.Diff([]string{"a STOP"}, r.next(t)); diff != "" {
		t.Errorf("burst (-want +got):\n%s", diff)
	}
}

// BenchmarkBurst is the cost of a line in a burst of 1000.
func BenchmarkBurst(b *testing.B) {
	path := filepath.Join(b.TempDir(), "fifo")
	got := make(chan int, 1000)
	r := fifo.NewReader(path, nil)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func(evs []vrrp.Event) { got <- len(evs) }) }()
	r.Flush(ctx)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "INSTANCE \"VI_%d\" MASTER 100\n", i)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := f.WriteString(text.String()); err != nil {
			b.Fatal(err)
		}
		for n := 0; n < 1000; {
			n += <-got
		}
	}
	cancel()
	<-done
}
