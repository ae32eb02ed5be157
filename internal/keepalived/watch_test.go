package keepalived

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

	"golang.org/x/sys/unix"
)

// limit bounds waits for a thing that must happen.
const limit = time.Minute

// TestMain lets the test binary play keepalived: started under that name it
// waits for its standard input to close, with a child of the same kind if the
// variable says so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "keepalived" {
		if err := underAnotherName(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
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

// underAnotherName executes the tests anew, from memory, while the name of their
// binary begins like keepalived's: to this package the tests would be a keepalived.
func underAnotherName() error {
	path, err := os.Executable()
	if err != nil || !isExecutable(path) {
		return err
	}
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("tests", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	copied := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := os.WriteFile(copied, text, 0); err != nil {
		return err
	}
	return unix.Exec(copied, os.Args, os.Environ())
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

func watch(t *testing.T, pidFile string) (*Daemon, <-chan death) {
	t.Helper()
	deaths := make(chan death, 10)
	d := New(Options{PIDFile: pidFile})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, nil, func(pid int, at time.Time) { deaths <- death{pid, at} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return d, deaths
}

// alive asks, as before acting on a MASTER, and from then on the death of
// keepalived cannot be missed.
func alive(t *testing.T, d *Daemon) {
	t.Helper()
	if got := d.Verdict(); got != Alive {
		t.Fatalf("Verdict says %v, want Alive", got)
	}
	if k, err := d.Current(); err != nil || k.VRRP == 0 {
		t.Fatalf("watching %+v, %v; want both processes", k, err)
	}
}

func next(t *testing.T, deaths <-chan death) int {
	t.Helper()
	select {
	case d := <-deaths:
		return d.pid
	case <-time.After(limit):
		t.Fatal("the death was not noticed")
		return 0
	}
}

func TestDeathOfParentAndOfVRRPProcessIsNoticed(t *testing.T) {
	binary, pidFile := keepalived(t), filepath.Join(t.TempDir(), "keepalived.pid")
	parent, child := start(t, binary, pidFile)
	d, deaths := watch(t, pidFile)
	alive(t, d)
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
	if got := d.Verdict(); got != Dead {
		t.Errorf("with a pid file left behind by one that was seen to die Verdict says %v, want Dead", got)
	}
	if err := os.Remove(pidFile); err != nil {
		t.Fatal(err)
	}
	if got := d.Verdict(); got != Dead {
		t.Errorf("without the pid file of one that was seen to die Verdict says %v, want Dead", got)
	}
	// A new keepalived under the same pid file is picked up.
	parent, _ = start(t, binary, pidFile)
	alive(t, d)
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
		"pid of no process":      strconv.Itoa(1 << 30),
		"garbage":                "x",
		"negative":               "-1",
		"empty":                  "",
	} {
		t.Run(name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			if err := os.WriteFile(pidFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if k, err := find(pidFile, nil); err == nil {
				t.Errorf("process %d counts as keepalived", k.Parent)
			} else if !strings.Contains(err.Error(), pidFile) {
				t.Errorf("got %v, want an error that names the file", err)
			}
			if got := New(Options{PIDFile: pidFile}).Verdict(); got != Unknown {
				t.Errorf("Verdict says %v, want Unknown", got)
			}
		})
	}
	if got := New(Options{PIDFile: filepath.Join(t.TempDir(), "none")}).Verdict(); got != Unknown {
		t.Errorf("without a pid file Verdict says %v, want Unknown", got)
	}
}

// The pid file lies elsewhere than is configured, as with net_namespace, or names
// another keepalived: the one that has the FIFO open is berth's.
func TestKeepalivedThatHasTheFIFOOpenIsFoundWithoutItsPIDFile(t *testing.T) {
	binary, dir := keepalived(t), t.TempDir()
	pidFile := filepath.Join(dir, "keepalived.pid")
	_, otherChild := start(t, binary, pidFile)
	parent, child := start(t, binary, filepath.Join(dir, "elsewhere.pid"))
	belongs := func(pid int) bool { return pid == child }
	for name, file := range map[string]string{"no pid file": filepath.Join(dir, "none"), "another's": pidFile} {
		k, err := find(file, belongs)
		if want := (Processes{Parent: parent, VRRP: child, Proven: true}); err != nil || k != want {
			t.Errorf("%s: found %+v, %v; want %+v", name, k, err, want)
		}
	}
	if k, err := find(pidFile, func(int) bool { return false }); err != nil || k.VRRP != otherChild {
		t.Errorf("found %+v, %v; want that of the pid file, as no process has the FIFO open", k, err)
	}

	// Found only after the other was taken for it: the death of that other one
	// says nothing.
	opened := make(chan struct{})
	deaths := make(chan death, 10)
	d := New(Options{PIDFile: pidFile, Belongs: func(pid int) bool {
		select {
		case <-opened:
			return belongs(pid)
		default:
			return false
		}
	}})
	found := make(chan struct{}, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- d.Run(ctx, func() { found <- struct{}{} }, func(pid int, at time.Time) { deaths <- death{pid, at} })
	}()
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
		case <-time.After(limit):
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

// A script that is not an executable file is started through a fork of the VRRP
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
	got := OriginOf(shell)
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
	got := OriginOf(inner)
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
	got := OriginOf(shell)
	defer got.Close()
	if len(got.Keepalived) != 1 || got.Keepalived[0].PID != cmd.Process.Pid {
		t.Errorf("found %d ancestors, want keepalived %d alone", len(got.Keepalived), cmd.Process.Pid)
	}
	if got.Script.PID != shell {
		t.Errorf("the script is process %d, want the shell %d", got.Script.PID, shell)
	}
	mine := OriginOf(os.Getpid())
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
		if k, ok := sender(file, script); !ok || name == "by its pid file" && k.Parent != parent {
			t.Errorf("%s: found %+v, %v; want %d", name, k, ok, parent)
		}
	}
	script.Start = 1 // before anything else on this machine
	if k, ok := sender(pidFile, script); ok {
		t.Errorf("found %+v, which is younger than the script", k)
	}
}
