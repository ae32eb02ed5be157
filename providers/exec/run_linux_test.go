package exec_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"berth/providers"
)

// A service's environment and descriptors, as systemd and an operator make them.
func TestProgramGetsNoSecretsSocketsOrDescriptorsOfBerth(t *testing.T) {
	for _, v := range []string{"BERTH_ETCD_PASSWORD", "CLOUDSCALE_API_TOKEN", "HCLOUD_TOKEN", "EXOSCALE_API_SECRET", "AWS_SECRET_ACCESS_KEY",
		"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM"} {
		t.Setenv(v, "berth's own")
	}
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TZ", "UTC")
	// Inherited, and not closed at exec, as are the sockets that systemd passes.
	fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	dir := t.TempDir()
	path, _ := script(t, fmt.Sprintf("cat /proc/self/environ | tr '\\0' '\\n' >%[1]s/env; ls -l /proc/$$/fd >%[1]s/fds; echo '{}'", dir))
	p, _ := newClient(t, path, "")
	if err := p.Claim(t.Context(), a4, permit); err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile(dir + "/env")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(env)) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	for _, want := range []string{"PATH", "LC_ALL", "TZ", "TOKEN"} {
		if !slices.Contains(names, want) {
			t.Errorf("want %s in the environment, got %v", want, names)
		}
	}
	for _, name := range names {
		// The shell sets PWD, SHLVL, OLDPWD and _ itself.
		if !slices.Contains([]string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TOKEN", "PWD", "OLDPWD", "SHLVL", "_"}, name) && !strings.HasPrefix(name, "LC_") {
			t.Errorf("the program got %s", name)
		}
	}
	fds, err := os.ReadFile(dir + "/fds")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(fds), "/dev/null") {
		t.Errorf("the program inherited a descriptor:\n%s", fds)
	}
}

func TestGrandchildWithTheOutputOpenDelaysNoClaim(t *testing.T) {
	for name, start := range map[string]string{
		"in the group":            "sleep 60 &",
		"in a session of its own": "setsid sleep 60 &",
	} {
		t.Run(name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			path, _ := script(t, describe+start+" echo $! >>"+pidFile+"\necho said >&2; echo '{}'")
			p, logs := newClient(t, path, "")
			if err := p.(providers.Preparer).Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			const claims = 10
			begun := time.Now()
			for range claims {
				if err := p.Claim(t.Context(), a4, permit); err != nil {
					t.Errorf("want the claim done, got %v", err)
				}
			}
			took := time.Since(begun)
			if strings.HasPrefix(start, "setsid") { // else berth has done it, and the pids are free
				killAll(t, pidFile)
			}
			// A second of grace for each program would make ten of it.
			if took >= claims*time.Second {
				t.Errorf("%d claims took %v", claims, took)
			}
			if logs.FilterMessage("program says").Len() != claims {
				t.Errorf("want what the program said to be logged, got %v", logs.All())
			}
		})
	}
}

// killAll ends the processes that a script left behind.
func killAll(t *testing.T, pidFile string) {
	t.Helper()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestLargeAnswerOfAProgramThatHasEndedIsWhole(t *testing.T) {
	// The pipe holds the last 64 KiB that the program wrote before it ended.
	path, _ := script(t, describe+`printf '{"holders":{"192.0.2.10":{"kind":"mine","owner":"%0300000d"}}}' 1`)
	p, _ := newClient(t, path, "")
	for range 5 {
		got, err := p.Observe(t.Context(), []netip.Addr{a4})
		if err != nil || got[a4].Kind != providers.Mine {
			t.Fatalf("got %v, %v", got, err)
		}
	}
}

func TestChildrenOfAProgramThatEndsByItselfEndWithIt(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path, _ := script(t, describe+"sleep 60 >"+fifo+" 2>&1 </dev/null &\necho '{}'")
	p, _ := newClient(t, path, "")
	if err := p.Claim(t.Context(), a4, permit); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); os.IsTimeout(err) {
		t.Error("the child lives on")
	}
}

// TestMain is berth in TestProgramDiesWithBerth.
func TestMain(m *testing.M) {
	if path := os.Getenv("EXEC_TEST_PROGRAM"); path != "" {
		p, err := parse(zap.NewNop(), "command: ["+path+"]\ntimeout: 1m\n")
		if err == nil {
			err = p.(providers.Preparer).Prepare(context.Background())
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestProgramDiesWithBerth(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	path, _ := script(t, "exec 3>"+fifo+"\necho started >&3\nexec sleep 60")
	berth := osexec.Command(os.Args[0])
	berth.Env = append(os.Environ(), "EXEC_TEST_PROGRAM="+path)
	if err := berth.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = berth.Process.Kill()
		_ = berth.Wait()
	}()
	r, err := os.OpenFile(fifo, os.O_RDONLY, 0) // when the program has opened it
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := berth.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err == nil {
		if _, err := r.Read(make([]byte, 8)); os.IsTimeout(err) {
			t.Error("the program lives on after berth was killed")
		}
	} else {
		t.Fatal(err)
	}
}
