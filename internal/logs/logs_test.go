package logs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"berth/internal/metrics"
)

// small returns a pipe that takes one page before it is full.
func small(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		w.Close()
	})
	if err := control(w, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 4096)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return r, w
}

func TestAReaderThatStoppedReadingStandardErrorBlocksNoEventAndWhatWasDroppedIsTold(t *testing.T) {
	r, w := small(t)
	registry := &metrics.Registry{}
	l := New(w)
	l.Count(registry.Counter("dropped", ""))
	const lines = 20000 // of 100 bytes and more: the queue does not take all
	var got []byte
	var reading sync.WaitGroup
	l.While(func() int {
		log := l.Logger(false, false)
		for i := range lines {
			log.Info("line", zap.Int("n", i), zap.String("text", strings.Repeat("x", 100)))
		}
		reading.Go(func() { got, _ = io.ReadAll(r) })
		for waiting, _ := l.state(); waiting > 0; waiting, _ = l.state() {
			l.Flush()
		}
		log.Info("after")
		return 0
	})
	w.Close()
	reading.Wait()
	numbers := regexp.MustCompile(`"n": (\d+)`).FindAllSubmatch(got, -1)
	for i, m := range numbers {
		if n, _ := strconv.Atoi(string(m[1])); n != i {
			t.Fatalf("line %d is number %d: the order is lost, or one amid the first is", i, n)
		}
	}
	told := regexp.MustCompile(`WARN lines of the log were dropped, because nobody took them \{"lines": (\d+)\}`).FindAllSubmatch(got, -1)
	if len(told) != 1 || len(numbers) == lines {
		t.Fatalf("want one line that tells of dropped ones, got %q and %d of %d lines", told, len(numbers), lines)
	}
	if n, _ := strconv.Atoi(string(told[0][1])); n+len(numbers) != lines {
		t.Errorf("%d lines arrived and %d were told to be dropped, of %d", len(numbers), n, lines)
	}
	if at, after := bytes.Index(got, told[0][0]), bytes.Index(got, []byte("INFO after")); at < 0 || after < at {
		t.Error("want the line that tells of it in the place of the lost ones")
	}
	var text strings.Builder
	if err := registry.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if want := "dropped " + string(told[0][1]) + "\n"; !strings.Contains(text.String(), want) {
		t.Errorf("want the metric %s, got %s", want, &text)
	}
}

// state returns how many bytes wait, and how many lines were lost.
func (l *Log) state() (waiting int, lost uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes, l.total
}

func TestTheEndDoesNotWaitForAReaderThatNeverReadsAgain(t *testing.T) {
	_, w := small(t)
	l := New(w)
	status := l.While(func() int {
		log := l.Logger(false, false)
		for range 1000 {
			log.Info("line", zap.String("text", strings.Repeat("x", 100)))
		}
		l.Flush()
		return 7
	})
	if status != 7 {
		t.Errorf("got %d", status)
	}
}

func TestTheErrorThatEndsTheProcessFindsRoomInAFullQueue(t *testing.T) {
	r, w := small(t)
	l := New(w)
	var got []byte
	var reading sync.WaitGroup
	l.While(func() int {
		log := l.Logger(false, false)
		for range 2 * maxQueue / 1000 {
			log.Info(strings.Repeat("x", 1000))
		}
		l.Last(false).Error("cannot go on")
		reading.Go(func() { got, _ = io.ReadAll(r) })
		return 1
	})
	w.Close()
	reading.Wait()
	if !regexp.MustCompile(`WARN lines of the log were dropped.*\n\S+ ERROR cannot go on\n$`).Match(got) {
		t.Errorf("the end is %q", got[max(0, len(got)-300):])
	}
}

func TestLinesAreWrittenBeforeTheEnd(t *testing.T) {
	var out bytes.Buffer
	l := New(&out)
	l.While(func() int {
		l.Logger(true, false).Debug("one", zap.Int("n", 1))
		l.Logger(false, false).Debug("not wanted")
		l.Logger(false, true).With(zap.String("instance", "VI_1")).Error("two", zap.Duration("wait", time.Second))
		l.Last(false).Error("three")
		return 0
	})
	want := `^\d{4}-\d\d-\d\dT[\d:.]+\S+ DEBUG one {"n": 1}
{"level":"error","ts":"[^"]+","msg":"two","instance":"VI_1","wait":"1s"}
\S+ ERROR three
$`
	if !regexp.MustCompile(want).Match(out.Bytes()) {
		t.Errorf("got:\n%s", &out)
	}
}

// inBubble runs log lines against a standard place that is a buffer, in fake time.
func inBubble(t *testing.T, work func(l *Log, log *zap.Logger)) (standard string) {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		l := New(&out)
		l.While(func() int {
			work(l, l.Logger(false, false))
			return 0
		})
	})
	return out.String()
}

// settle waits until the lines are written, and then until the log-file is looked
// at again.
func settle() {
	synctest.Wait()
	time.Sleep(fileInterval)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func TestLogFileIsAppendedToAndFollowedWhenItIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	standard := inBubble(t, func(l *Log, log *zap.Logger) {
		log.Info("to the standard place")
		l.File(path)
		log.Info("one")
		settle()
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		log.Info("two")
		settle()
		if err := os.Rename(path, path+".2"); err != nil {
			t.Fatal(err)
		}
		l.File(path) // SIGHUP
		log.Info("three")
		l.Last(false).Error("the last")
		l.File("")
		log.Info("to the standard place again")
	})
	for name, want := range map[string]string{".1": `^before\n\S+ INFO one\n$`, ".2": `^\S+ INFO two\n$`, "": `^\S+ INFO three\n\S+ ERROR the last\n$`} {
		if got := read(t, path+name); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("file %s: want %s, got %s", name, want, got)
		}
	}
	if !regexp.MustCompile(`^\S+ INFO to the standard place\n\S+ ERROR the last\n\S+ INFO to the standard place again\n$`).MatchString(standard) {
		t.Errorf("standard place: %s", standard)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("want mode 0640, got %v, %v", st.Mode(), err)
	}
}

func TestLogFileThatCannotBeWrittenIsToldOnceAndItsLinesAreNotLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	path := filepath.Join(dir, "berth.log")
	standard := inBubble(t, func(l *Log, log *zap.Logger) {
		l.File(path)
		log.Info("one")
		log.Info("two")
		settle()
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		log.Info("three")
		settle()
	})
	if !regexp.MustCompile(`^\S+ ERROR cannot write the log-file; .*no such file or directory.*\n\S+ INFO one\n\S+ INFO two\n\S+ INFO the log-file is written again .*\n$`).MatchString(standard) {
		t.Errorf("standard place: %s", standard)
	}
	if got := read(t, path); !strings.HasSuffix(got, "INFO three\n") {
		t.Errorf("log-file: %s", got)
	}
}

func TestLogFileThatIsAFIFOWithoutAReaderHangsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	var got string
	standard := inBubble(t, func(l *Log, log *zap.Logger) {
		l.File(path)
		log.Info("one")
		settle()
		r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("two")
		synctest.Wait()
		buf := make([]byte, 1000)
		n, _ := r.Read(buf)
		got = string(buf[:n])
		r.Close()
		log.Info("three")
		synctest.Wait()
	})
	if !strings.HasSuffix(got, "INFO two\n") {
		t.Errorf("the FIFO got %q", got)
	}
	if !regexp.MustCompile(`ERROR cannot write the log-file[^\n]*no such device or address[^\n]*\n\S+ INFO one\n[^\n]*written again[^\n]*\n[^\n]*ERROR cannot write the log-file[^\n]*broken pipe[^\n]*\n\S+ INFO three\n$`).MatchString(standard) {
		t.Errorf("standard place: %s", standard)
	}
}

func TestLogFileBelowProcIsTheOutputOfAContainer(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var path string
	if err := control(w, func(fd int) error {
		path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	standard := inBubble(t, func(l *Log, log *zap.Logger) {
		l.File(path)
		log.Info("one")
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil || !strings.HasSuffix(line, "INFO one\n") || standard != "" {
		t.Errorf("got %q, %v, and elsewhere %q", line, err, standard)
	}
}

func TestLogFileThatAnotherUserCanHaveMadeIsRefused(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for name, do := range map[string]func(path string) error{
		"symbolic link": func(path string) error { return os.Symlink(target, path) },
		"second name":   func(path string) error { return os.Link(target, path) },
		"other owner": func(path string) error {
			if os.Geteuid() != 0 {
				if os.Getenv("BERTH_TEST_REQUIRE_ROOT") == "1" {
					t.Fatal("needs root")
				}
				t.Skip("only root can give a file away")
			}
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 65534, 65534))
		},
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		if err := os.WriteFile(target, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := do(path); err != nil {
			t.Fatal(err)
		}
		standard := inBubble(t, func(l *Log, log *zap.Logger) {
			l.File(path)
			log.Info("one")
		})
		if !strings.Contains(standard, "ERROR cannot write the log-file") || !strings.Contains(standard, "INFO one") || read(t, target) != "" {
			t.Errorf("%s: standard place %q, target %q", name, standard, read(t, target))
		}
	}
}

func TestCheckOfALogFile(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		"":                          "",
		filepath.Join(dir, "x.log"): "",
		"/dev/null":                 "",
		dir:                         "is a directory",
		filepath.Join(dir, "no/x"):  "run: mkdir -p " + filepath.Join(dir, "no"),
	} {
		err := Check(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", path, want, err)
		}
	}
}

// quiet is a process without standard error and journal.
func quiet(path string) *Log {
	l := New(io.Discard)
	d := newDaemons()
	d.journal, d.path = func() bool { return false }, path
	l.standard = d
	return l
}

func TestWithoutJournalSyslogGetsTheLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l := quiet(path)
	l.While(func() int {
		log := l.Logger(true, true)
		log.Debug("one")
		log.Info("two", zap.Int("n", 2))
		log.Warn("three")
		log.Error("four")
		return 0
	})
	for _, want := range []string{"<31>", "<30>", "<28>", "<27>"} {
		buf := make([]byte, 1000)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if re := regexp.MustCompile("^" + want + `\w{3} [ \d]\d \d\d:\d\d:\d\d berth\[\d+\]: (one|two \{"n": 2\}|three|four)\n?$`); !re.Match(buf[:n]) {
			t.Errorf("want %s, got %s", re, buf[:n])
		}
	}
}

func TestASyslogThatStoppedReadingBlocksNoEvent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	registry := &metrics.Registry{}
	l := quiet(path)
	l.Count(registry.Counter("dropped", ""))
	l.While(func() int {
		log := l.Logger(false, false)
		for range 2 * maxQueue / 1000 {
			log.Info(strings.Repeat("x", 1000))
		}
		return 0
	})
	if _, lost := l.state(); lost == 0 {
		t.Error("want lines dropped")
	}
}

func TestWithNobodyToTakeLinesTheyAreCountedAndToldWhenSomebodyDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := quiet(path)
	var got []byte
	l.While(func() int {
		log := l.Logger(false, false)
		log.Info("one")
		log.Info("two")
		l.Flush()
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		log.Info("three")
		for range 2 {
			buf := make([]byte, 1000)
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		return 0
	})
	if !regexp.MustCompile(`three\n?.*lines of the log were dropped, because nobody took them \{"lines": 2\}`).Match(got) {
		t.Errorf("got %s", got)
	}
}

func TestTheJournalComesFirstAndSyslogWhenItRefuses(t *testing.T) {
	var got []string
	refuse := false
	d := &daemons{journal: func() bool { return true }, path: filepath.Join(t.TempDir(), "none"),
		send: func(text string, p journal.Priority, _ map[string]string) error {
			if refuse {
				return errors.New("no space")
			}
			got = append(got, fmt.Sprint(p, " ", text))
			return nil
		}}
	if err := d.write(zapcore.WarnLevel, []byte("one\n"), nil); err != nil || len(got) != 1 || got[0] != "4 one" {
		t.Errorf("got %q, %v", got, err)
	}
	refuse = true
	if err := d.write(zapcore.WarnLevel, []byte("two\n"), nil); !errors.Is(err, errNowhere) {
		t.Errorf("want that nobody takes it, got %v", err)
	}
}
