package logs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

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

func TestLogFileThatIsAFIFOWithoutAReaderBlocksNothing(t *testing.T) {
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
