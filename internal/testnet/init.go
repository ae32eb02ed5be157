package testnet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// initName is argv[0] of a node's process 1.
const initName = "berth-testnet-init"

// The program must become process 1 before anything else of it runs, whether it
// is a test binary or the demo: hence an init function, and not a call that
// each TestMain has to remember.
func init() {
	if os.Args[0] != initName {
		return
	}
	ready := os.NewFile(3, "ready")
	if err := prepare(os.Args[1]); err != nil {
		fmt.Fprintln(ready, err)
		os.Exit(1)
	}
	ready.Close()
	go reap()
	// Standard input is a pipe whose only other end is in the program that made
	// the node: it ends with that program, for any reason.
	io.Copy(io.Discard, os.Stdin)
	unix.Exit(0) // os.Exit lingers for a second under the race detector
}

// prepare gives the node its file system and host name.
func prepare(hostname string) error {
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("set host name %s: %w", hostname, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// The overlays' upper layers live on a tmpfs that the second mount on /run
	// hides from the node's processes.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs on /run: %w", err)
	}
	for _, dir := range []string{"/etc", "/usr/bin", "/usr/lib", "/usr/local/bin", "/var"} {
		if err := overlay(dir); err != nil {
			return err
		}
	}
	for dir, mode := range map[string]string{"/run": "mode=0755", "/tmp": "mode=1777"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, mode); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	if err := os.Mkdir("/run/lock", 0o1777); err != nil { // where /var/lock leads
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return nil
}

// overlay makes a directory writable for the node alone.
func overlay(dir string) error {
	layer := filepath.Join("/run", strings.ReplaceAll(dir, "/", "-"))
	upper, work := layer+"/upper", layer+"/work"
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	// In a user namespace the machine's directories belong to users that are not
	// mapped, and not even root may write there; but a directory that is also in the
	// upper layer belongs to this user.
	below, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range below {
		if d.IsDir() {
			if err := os.Mkdir(filepath.Join(upper, d.Name()), 0o755); err != nil {
				return err
			}
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay on %s: %w", dir, err)
	}
	return nil
}

// reap collects the orphans that fall to process 1.
func reap() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	for range died {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}
