package notify

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/journal"
	"berth/internal/pidfd"
	"berth/vrrp"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

// Environment variables that make the test binary another process of this host.
const (
	occupyEnv = "NOTIFY_TEST_OCCUPY" // the path of a lock file
	squatEnv  = "NOTIFY_TEST_SQUAT"  // the name of a socket
	recordEnv = "NOTIFY_TEST_RECORD"
)

func TestMain(m *testing.M) {
	lockFile, name := os.Getenv(occupyEnv), os.Getenv(squatEnv)
	switch {
	case lockFile != "":
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, unix.SIGTERM)
		self, err := Self(false)
		if err == nil {
			err = json.Unmarshal([]byte(os.Getenv(recordEnv)), &self)
		}
		var s *Socket
		if err == nil {
			s, err = Occupy(context.Background(), lockFile, self, journal.New(nil))
		}
		fmt.Println(err)
		<-ended
		_ = s.Close()
	case name != "":
		_, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
		fmt.Println(err)
		select {}
	default:
		os.Exit(m.Run())
	}
}

// process starts another process and returns after it has written that it is ready.
func process(t *testing.T, uid uint32, env ...string) *pidfd.Process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		cmd.Dir = "/"
	}
	p, line := Start(t, cmd)
	if line != "<nil>\n" {
		t.Fatalf("the other process wrote %q", line)
	}
	return p
}

// Start starts a process and returns it with its first line of output.
func Start(t *testing.T, cmd *exec.Cmd) (p *pidfd.Process, line string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if p, err = pidfd.Open(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, line
}

func self(t *testing.T, change func(*Record)) Record {
	t.Helper()
	r, err := Self(false)
	if err != nil {
		t.Fatal(err)
	}
	r.Script = Script{PID: 100, Start: 1000}
	change(&r)
	return r
}

const script = `{"script":{"pid":90,"start":900},"state":"MASTER"}`

// There is no file in these tests: the directory of the lock does not exist.
func TestProcessOfTheFormerStateIsFoundBySocketAndEndedWithoutAnyFile(t *testing.T) {
	for name, stopped := range map[string]bool{"one that runs": false, "one that is stopped and does not answer": true} {
		t.Run(name, func(t *testing.T) {
			lockFile := filepath.Join(t.TempDir(), "none", "lock")
			p := process(t, 0, occupyEnv+"="+lockFile, recordEnv+"="+script)
			if stopped {
				if err := p.Signal(unix.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				for { // until the kernel shows it
					if info, err := pidfd.Stat(p.PID); err != nil || info.State == 'T' {
						break
					}
				}
			}
			s, err := Occupy(t.Context(), lockFile, self(t, func(*Record) {}), journal.New(nil))
			if err != nil || s == nil {
				t.Fatalf("got %v, %v", s, err)
			}
			if !p.Ended() {
				t.Error("this process has the name, and the former one has not ended")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNewerEventAndServiceFoundBySocketAreLeftAlone(t *testing.T) {
	for _, row := range []struct {
		name, record string
		want         error
	}{
		{"newer event", `{"script":{"pid":110,"start":1100},"state":"BACKUP"}`, ErrSuperseded},
		{"service", `{"service":true}`, ErrService},
	} {
		t.Run(row.name, func(t *testing.T) {
			lockFile := filepath.Join(t.TempDir(), "none", "lock")
			p := process(t, 0, occupyEnv+"="+lockFile, recordEnv+"="+row.record)
			s, err := Occupy(t.Context(), lockFile, self(t, func(*Record) {}), journal.New(nil))
			if !errors.Is(err, row.want) || s != nil {
				t.Errorf("got %v, %v; want %v", s, err, row.want)
			}
			if err := Supersede(t.Context(), lockFile, self(t, func(*Record) {}), journal.New(nil)); !errors.Is(err, row.want) {
				t.Errorf("while the lock is busy: got %v, want %v", err, row.want)
			}
			if p.Ended() {
				t.Error("the process was ended")
			}
		})
	}
}

// The disk was full when the process of the former state wrote its record.
func TestProcessThatHasTheLockAndNoRecordIsFoundBySocket(t *testing.T) {
	for name, stale := range map[string]*Record{"no record": nil, "record of a process that has ended": {PID: 1 << 21, Start: 1}} {
		t.Run(name, func(t *testing.T) {
			lockFile := filepath.Join(t.TempDir(), "lock")
			me := self(t, func(*Record) {})
			if stale != nil {
				stale.Boot = me.Boot
				if err := stale.Write(lockFile); err != nil {
					t.Fatal(err)
				}
			}
			p := process(t, 0, occupyEnv+"="+lockFile, recordEnv+"="+script)
			if err := Supersede(t.Context(), lockFile, me, journal.New(nil)); err != nil || !p.Ended() {
				t.Errorf("got %v, ended %v; want that the process has ended", err, p.Ended())
			}
		})
	}
}

func TestNameThatAnotherUserHasIsToldAndDoesNotDelay(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("BERTH_TEST_REQUIRE_ROOT") == "1" {
			t.Fatal("needs root")
		}
		t.Skip("needs root to be another user")
	}
	lockFile := filepath.Join(t.TempDir(), "none", "lock")
	p := process(t, 12345, squatEnv+"="+socketName(lockFile))
	core, logs := observer.New(zapcore.WarnLevel)
	s, err := Occupy(t.Context(), lockFile, self(t, func(*Record) {}), journal.New(zap.New(core)))
	if err != nil || s != nil {
		t.Fatalf("got %v, %v; want no socket and no error", s, err)
	}
	if p.Ended() {
		t.Error("another user's process was ended")
	}
	if logs.Len() != 1 || !strings.Contains(fmt.Sprint(logs.All()[0].ContextMap()["error"]), fmt.Sprintf("process %d is of user 12345", p.PID)) {
		t.Errorf("want one warning that names process and user, got %v", logs.All())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketOfAnotherTypeWithTheNameDoesNotDelay(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "none", "lock")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: socketName(lockFile)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Each type of socket has its own names.
	s, err := Occupy(t.Context(), lockFile, self(t, func(*Record) {}), journal.New(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestManySilentConnectionsDoNotBlockTheSocket(t *testing.T) {
	lockFile := filepath.Join(t.TempDir(), "none", "lock")
	me := self(t, func(r *Record) { r.State = vrrp.Master })
	s, err := Occupy(t.Context(), lockFile, me, journal.New(nil))
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	// More connections than the queue of a listener holds. None sends anything.
	for range 300 {
		c, err := net.Dial("unix", socketName(lockFile))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	begun := time.Now()
	if err := s.Close(); err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("closed after %v: %v", time.Since(begun), err)
	}
}
