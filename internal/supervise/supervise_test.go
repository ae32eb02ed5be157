package supervise_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/pidfd"
	"berth/internal/supervise"

	"golang.org/x/sys/unix"
)

// patience bounds waits for a thing that must happen.
const patience = 10 * time.Second

// TestMain lets the test binary play keepalived: started under that name it
// waits for its standard input to close, with a child of the same kind if the
// variable says so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "keepalived" {
		os.Exit(m.Run())
	}
	switch os.Getenv("PLAY") {
	case "parent":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PLAY=child")
		cmd.Stdin = os.Stdin
		if err := cmd.Start(); err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString(strconv.Itoa(cmd.Process.Pid) + "\n")
		_ = cmd.Wait() // then stay, as keepalived's parent does when its child dies
		_, _ = os.Stdin.Read(make([]byte, 1))
	case "fork":
		// parent -> VRRP process -> fork that waits for a script -> sh.
		if depth := len(os.Getenv("DEPTH")); depth < 2 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "DEPTH="+os.Getenv("DEPTH")+"x")
			cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
			_ = cmd.Run()
			return
		}
		os.Stdout.WriteString(strconv.Itoa(os.Getpid()) + " ")
		fallthrough
	case "shell":
		// keepalived -> sh, as for a notify script with a wrapper.
		cmd := exec.Command("sh", "-c", "echo $$; read x")
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		_ = cmd.Run()
	case "child":
		_, _ = os.Stdin.Read(make([]byte, 1))
	}
}

// The children of a process are listed by the thread that forked them; keepalived
// has one thread.
func init() {
	if os.Getenv("PLAY") != "" {
		runtime.LockOSThread()
	}
}

// keepalived copies the test binary under keepalived's name.
func keepalived(t *testing.T) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keepalived")
	if err := os.WriteFile(path, self, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a parent with its VRRP child and writes the pid file.
func start(t *testing.T, binary, pidFile string) (parent, child int) {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "PLAY=parent")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	buf := make([]byte, 32)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	child, err = strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, child
}

type death struct {
	pid int
	at  time.Time
}

func watch(t *testing.T, pidFile string) (*supervise.Watcher, <-chan death) {
	t.Helper()
	deaths := make(chan death, 10)
	w := supervise.NewWatcher(pidFile, func(pid int, at time.Time) { deaths <- death{pid, at} }, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return w, deaths
}

// alive looks, as before acting on a MASTER, and from then on the death of
// keepalived cannot be missed.
func alive(t *testing.T, w *supervise.Watcher) {
	t.Helper()
	if got := w.Look(); got != supervise.Alive {
		t.Fatalf("Look says %v, want Alive", got)
	}
}

func next(t *testing.T, deaths <-chan death) int {
	t.Helper()
	select {
	case d := <-deaths:
		return d.pid
	case <-time.After(patience):
		t.Fatal("the death was not noticed")
		return 0
	}
}

func TestDeathOfParentAndOfVRRPProcessIsNoticed(t *testing.T) {
	binary, pidFile := keepalived(t), filepath.Join(t.TempDir(), "keepalived.pid")
	parent, child := start(t, binary, pidFile)
	w, deaths := watch(t, pidFile)
	alive(t, w)
	if err := unix.Kill(child, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := next(t, deaths); got != child {
		t.Errorf("noticed the death of %d, want the VRRP process %d", got, child)
	}
	if err := unix.Kill(parent, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := next(t, deaths); got != parent {
		t.Errorf("noticed the death of %d, want the parent %d", got, parent)
	}
	if got := w.Look(); got != supervise.Dead {
		t.Errorf("with a pid file left behind by one that was seen to die Look says %v, want Dead", got)
	}
	if err := os.Remove(pidFile); err != nil {
		t.Fatal(err)
	}
	if got := w.Look(); got != supervise.Dead {
		t.Errorf("without the pid file of one that was seen to die Look says %v, want Dead", got)
	}
	// A new keepalived under the same pid file is picked up.
	parent, _ = start(t, binary, pidFile)
	alive(t, w)
	if err := unix.Kill(parent, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := next(t, deaths); got != parent {
		t.Errorf("noticed the death of %d, want the new parent %d", got, parent)
	}
}

// A pid file that is stale, or that a keepalived in another PID namespace has
// written, does not tell that keepalived is dead.
func TestStalePIDFileIsUnknownAndNotFollowed(t *testing.T) {
	for name, text := range map[string]string{
		"pid of another program": strconv.Itoa(os.Getpid()),
		"pid of nobody":          strconv.Itoa(1 << 30),
		"garbage":                "x",
		"negative":               "-1",
		"empty":                  "",
	} {
		t.Run(name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			if err := os.WriteFile(pidFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if k, err := supervise.Find(pidFile, nil); err == nil {
				t.Errorf("process %d counts as keepalived", k.Parent)
			} else if !strings.Contains(err.Error(), pidFile) {
				t.Errorf("got %v, want an error that names the file", err)
			}
			if got := supervise.NewWatcher(pidFile, nil, nil).Look(); got != supervise.Unknown {
				t.Errorf("Look says %v, want Unknown", got)
			}
		})
	}
	if got := supervise.NewWatcher(filepath.Join(t.TempDir(), "none"), nil, nil).Look(); got != supervise.Unknown {
		t.Errorf("without a pid file Look says %v, want Unknown", got)
	}
}

// The pid file lies where berth does not look, as with net_namespace, or names
// another keepalived: the one that has the FIFO open is berth's.
func TestKeepalivedThatHasTheFIFOOpenIsFoundWithoutItsPIDFile(t *testing.T) {
	binary, dir := keepalived(t), t.TempDir()
	pidFile := filepath.Join(dir, "keepalived.pid")
	_, otherChild := start(t, binary, pidFile)
	parent, child := start(t, binary, filepath.Join(dir, "elsewhere.pid"))
	holds := func(pid int) bool { return pid == child }
	for name, file := range map[string]string{"no pid file": filepath.Join(dir, "none"), "another's": pidFile} {
		k, err := supervise.Find(file, holds)
		if want := (supervise.Keepalived{Parent: parent, VRRP: child, Proven: true}); err != nil || k != want {
			t.Errorf("%s: found %+v, %v; want %+v", name, k, err, want)
		}
	}
	if k, err := supervise.Find(pidFile, func(int) bool { return false }); err != nil || k.VRRP != otherChild {
		t.Errorf("found %+v, %v; want that of the pid file, as nobody has the FIFO open", k, err)
	}

	// Found only after the other was taken for it: the death of that other one
	// says nothing.
	opened := make(chan struct{})
	deaths := make(chan death, 10)
	w := supervise.NewWatcher(pidFile, func(pid int, at time.Time) { deaths <- death{pid, at} }, nil)
	w.Holds = func(pid int) bool {
		select {
		case <-opened:
			return holds(pid)
		default:
			return false
		}
	}
	found := make(chan struct{}, 10)
	w.Born = func() { found <- struct{}{} }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	defer func() {
		cancel()
		<-done
	}()
	for i := range 4 {
		if i == 2 {
			close(opened)
		}
		select {
		case <-found:
		case <-time.After(patience):
			t.Fatal("keepalived was not found")
		}
	}
	for _, pid := range []int{otherChild, child} {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if got := next(t, deaths); got != child {
		t.Errorf("noticed the death of %d, want that of %d alone", got, child)
	}
}

// A script that is no executable file is started through a fork of the VRRP
// process, and that is what keepalived started for the event. A script of
// keepalived's name is a script all the same.
func TestScriptIsWhatTheVRRPProcessStarted(t *testing.T) {
	cmd := exec.Command(keepalived(t))
	cmd.Env = append(os.Environ(), "PLAY=fork")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	var fork, shell int
	if _, err := fmt.Fscan(out, &fork, &shell); err != nil {
		t.Fatal(err)
	}
	got := supervise.OriginOf(shell)
	defer got.Close()
	if len(got.Keepalived) != 3 || got.Script.PID != fork {
		t.Errorf("found %d keepalived and script %d, want 3 and the fork %d", len(got.Keepalived), got.Script.PID, fork)
	}
}

func TestScriptNamedAfterKeepalivedIsNone(t *testing.T) {
	script := filepath.Join(t.TempDir(), "keepalived-notify")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nsh -c 'echo $$; read x'; true\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	var inner int
	if _, err := fmt.Fscan(out, &inner); err != nil {
		t.Fatal(err)
	}
	got := supervise.OriginOf(inner)
	defer got.Close()
	if len(got.Keepalived) != 0 {
		t.Errorf("the script counts as keepalived: %+v", got.Keepalived[0].Info)
	}
}

func TestAncestorsAreFoundThroughAShell(t *testing.T) {
	cmd := exec.Command(keepalived(t))
	cmd.Env = append(os.Environ(), "PLAY=shell")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	buf := make([]byte, 32)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	shell, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		t.Fatal(err)
	}
	got := supervise.OriginOf(shell)
	defer got.Close()
	if len(got.Keepalived) != 1 || got.Keepalived[0].PID != cmd.Process.Pid {
		t.Errorf("found %d ancestors, want keepalived %d alone", len(got.Keepalived), cmd.Process.Pid)
	}
	if got.Script.PID != shell {
		t.Errorf("the script is process %d, want the shell %d", got.Script.PID, shell)
	}
	mine := supervise.OriginOf(os.Getpid())
	defer mine.Close()
	if len(mine.Keepalived) != 0 || mine.Script.PID != os.Getpid() {
		t.Errorf("found %d keepalived above the test itself and %d as script", len(mine.Keepalived), mine.Script.PID)
	}
}

// A script that init has inherited can have been started by a keepalived that is
// older than it, and by no other.
func TestSenderIsOlderThanItsScript(t *testing.T) {
	binary, dir := keepalived(t), t.TempDir()
	pidFile := filepath.Join(dir, "keepalived.pid")
	parent, _ := start(t, binary, pidFile)
	info, err := pidfd.Stat(parent)
	if err != nil {
		t.Fatal(err)
	}
	script := pidfd.Info{PID: os.Getpid(), Start: info.Start + 1}
	for name, file := range map[string]string{"by its pid file": pidFile, "without a pid file": filepath.Join(dir, "none")} {
		if k, ok := supervise.Sender(file, script); !ok || name == "by its pid file" && k.Parent != parent {
			t.Errorf("%s: found %+v, %v; want %d", name, k, ok, parent)
		}
	}
	script.Start = 1 // before anything else on this machine
	if k, ok := supervise.Sender(pidFile, script); ok {
		t.Errorf("found %+v, which is younger than the script", k)
	}
}
