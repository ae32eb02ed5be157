package testnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
)

// RequireEnv names the variable that, set to 1, turns the skipping of
// privileged tests into failure. CI sets it.
const RequireEnv = "BERTH_TEST_REQUIRE_ROOT"

// probe tells once per program whether nodes can be made here.
var probe = sync.OnceValue(func() error {
	n, err := New("probe", new(Bell))
	if err != nil {
		return err
	}
	return n.Close()
})

// Available returns nil if nodes can be made and all programs are installed,
// else an error with the reason and the cure.
func Available(programs ...string) error {
	for _, p := range programs {
		if _, err := Program(p); err != nil {
			return err
		}
	}
	if err := probe(); err != nil {
		return fmt.Errorf("needs root with CAP_SYS_ADMIN and network namespaces: %w", err)
	}
	return nil
}

// Program finds an installed program, also where a user's PATH does not lead.
func Program(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"} {
		if info, err := os.Stat(dir + name); err == nil && info.Mode().IsRegular() {
			return dir + name, nil
		}
	}
	return "", fmt.Errorf("needs %s: apt-get install %s", name, name)
}

// Require skips the test with the reason where nodes cannot be made, or fails it
// if RequireEnv says that it must run.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	err := Available(programs...)
	switch {
	case err == nil:
	case os.Getenv(RequireEnv) == "1":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
}

// Unprivileged gives a program that a user started what it needs: it runs the
// same program again as root of a new user namespace, with the same arguments,
// environment and terminal, and returns its exit code and true. For root it
// does nothing and returns false. The error says what the kernel refused.
func Unprivileged() (exit int, ran bool, err error) {
	if os.Geteuid() == 0 {
		return 0, false, nil
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	// The terminal's interrupt reaches the child too, whose end is waited for. The
	// signal is taken and not ignored, because a child inherits ignored signals.
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, syscall.SIGINT)
	defer signal.Stop(interrupt)
	if err := cmd.Run(); err != nil {
		if status, ok := errors.AsType[*exec.ExitError](err); ok {
			return status.ExitCode(), true, nil
		}
		return 1, true, fmt.Errorf("needs root, or user namespaces for users (user_namespaces(7)): %w", err)
	}
	return 0, true, nil
}
