package truth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"berth/vrrp"

	"golang.org/x/sys/unix"
)

const (
	// dumpFile is where keepalived writes the dump, in its own file system.
	dumpFile = "/tmp/keepalived.json"
	// dumpPatience bounds the wait for it: keepalived answers within some
	// milliseconds, or writes it where berth cannot see it.
	dumpPatience = 500 * time.Millisecond
	dumpRetry    = 5 * time.Millisecond
	// maxDump is some 50,000 instances.
	maxDump = 64 << 20
)

// AskKeepalived makes a running keepalived write its state dump and reads it.
// parent and vrrpProcess are its processes. Many reasons make that impossible: a
// keepalived without JSON, another user's, another file system. It changes
// nothing.
func AskKeepalived(ctx context.Context, parent, vrrpProcess int) (Dump, error) {
	var d Dump
	err := askKeepalived(ctx, parent, vrrpProcess, func(text []byte) (err error) {
		d, err = ParseDump(text)
		return err
	})
	return d, err
}

// AskAddresses is AskKeepalived for the virtual addresses of each instance.
func AskAddresses(ctx context.Context, parent, vrrpProcess int) (map[string][]vrrp.FloatingIP, error) {
	var all map[string][]vrrp.FloatingIP
	err := askKeepalived(ctx, parent, vrrpProcess, func(text []byte) (err error) {
		all, err = ParseAddresses(text)
		return err
	})
	return all, err
}

func askKeepalived(ctx context.Context, parent, vrrpProcess int, parse func([]byte) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, dumpPatience, errors.New("keepalived wrote none"))
	defer cancel()
	if err := dump(ctx, parent, vrrpProcess, parse); err != nil {
		return fmt.Errorf("get keepalived's state dump: %w", err)
	}
	return nil
}

func dump(ctx context.Context, parent, vrrpProcess int, parse func([]byte) error) error {
	proc := "/proc/" + strconv.Itoa(parent)
	// The running program knows which signal it is, or that it has none.
	out, err := exec.CommandContext(ctx, proc+"/exe", "--signum=JSON").Output()
	if err != nil {
		return fmt.Errorf("ask for the number of the signal: %w", err)
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || number < 1 || number > 64 {
		return fmt.Errorf("ask for the number of the signal: unexpected answer %q", out)
	}
	// To a keepalived that is only starting the signal would be deadly.
	for _, pid := range []int{parent, vrrpProcess} {
		if err := handles(pid, number); err != nil {
			return err
		}
	}
	path := proc + "/root" + dumpFile
	before, _ := os.Lstat(path)
	if err := unix.Kill(parent, unix.Signal(number)); err != nil {
		return err
	}
	tick := time.NewTicker(dumpRetry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		now, err := os.Lstat(path)
		if err != nil || before != nil && os.SameFile(before, now) && now.ModTime().Equal(before.ModTime()) {
			continue
		}
		// It may not be complete yet.
		if text, err := readDump(path, parent); err == nil && parse(text) == nil {
			return nil
		}
	}
}

// handles returns nil if the process handles a signal, or has it wait, as proc(5)
// tells of it, and else why it is not known to.
func handles(pid, signal int) error {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return fmt.Errorf("look whether process %d waits for signal %d: %w", pid, signal, err)
	}
	var mask uint64
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if key == "SigBlk" || key == "SigCgt" {
			if bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil {
				mask |= bits
			}
		}
	}
	if mask&(1<<(signal-1)) == 0 {
		return fmt.Errorf("process %d does not wait for signal %d yet", pid, signal)
	}
	return nil
}

// readDump reads the dump only if it is keepalived's: everybody may write into
// that directory.
func readDump(path string, pid int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var file, process unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &file); err != nil {
		return nil, err
	}
	if err := unix.Stat("/proc/"+strconv.Itoa(pid), &process); err != nil {
		return nil, err
	}
	if file.Uid != process.Uid || file.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%s is not keepalived's", dumpFile)
	}
	return io.ReadAll(io.LimitReader(f, maxDump))
}
