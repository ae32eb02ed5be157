package logs

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"berth/internal/metrics"
)

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

func TestLinesWithoutAPlaceAreCountedAndReportedWhenAPlaceAppears(t *testing.T) {
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
	if !regexp.MustCompile(`three\n?.*lines of the log were dropped, because they could not be written \{"lines": 2\}`).Match(got) {
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
		t.Errorf("want an error of a log without a place, got %v", err)
	}
}
