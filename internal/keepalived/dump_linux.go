package keepalived

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

	"golang.org/x/sys/unix"
)

const (
	// dumpFile is where keepalived writes the dump, in its own mount namespace.
	dumpFile = "/tmp/keepalived.json"
	// dumpTimeout bounds the wait for it: keepalived answers within some
	// milliseconds, or writes it where berth cannot see it.
	dumpTimeout = 500 * time.Millisecond
	dumpRetry   = 5 * time.Millisecond
	// maxDump bounds the dump, in bytes: some 50,000 instances.
	maxDump = 64 << 20
)

// dump makes a running keepalived write its state dump, and calls parse with what it
// wrote until parse accepts it as complete.
func dump(ctx context.Context, k Processes, parse func([]byte) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, dumpTimeout, errors.New("keepalived wrote none"))
	defer cancel()
	if err := k.dump(ctx, parse); err != nil {
		return fmt.Errorf("get keepalived's state dump: %w", err)
	}
	return nil
}

func (k Processes) dump(ctx context.Context, parse func([]byte) error) error {
	proc := "/proc/" + strconv.Itoa(k.Parent)
	// The number of the signal differs between builds: the running program knows it.
	out, err := exec.CommandContext(ctx, proc+"/exe", "--signum=JSON").Output()
	if err != nil {
		return fmt.Errorf("ask for the number of the signal: %w", err)
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || number < 1 || number > 64 {
		return fmt.Errorf("ask for the number of the signal: unexpected answer %q", out)
	}
	// The signal would end a keepalived that is only starting.
	for _, pid := range []int{k.Parent, k.VRRP} {
		if err := handles(pid, number); err != nil {
			return err
		}
	}
	path := proc + "/root" + dumpFile
	before, _ := os.Lstat(path)
	if err := unix.Kill(k.Parent, unix.Signal(number)); err != nil {
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
		// keepalived may still be writing it.
		if text, err := readDump(path, k.Parent); err == nil && parse(text) == nil {
			return nil
		}
	}
}

// handles returns nil if the process catches a signal, or blocks it, as the fields
// SigCgt and SigBlk of proc(5) tell, and else why that is not known.
func handles(pid, signal int) error {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return fmt.Errorf("read whether process %d waits for signal %d: %w", pid, signal, err)
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

// readDump reads the dump only if it is keepalived's: every user may write into
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
