package logs

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
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

func TestAReaderThatStoppedReadingStandardErrorBlocksNoEventAndDroppedLinesAreReported(t *testing.T) {
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
	told := regexp.MustCompile(`WARN lines of the log were dropped, because they could not be written \{"lines": (\d+)\}`).FindAllSubmatch(got, -1)
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

// state returns how many bytes wait, and how many lines were dropped.
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

// settle waits until the lines are written, and then until the log-file is checked
// again.
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
