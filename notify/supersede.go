package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/internal/boot"
	"berth/internal/journal"
	"berth/internal/pidfd"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// termWait is the time that the process of the former state has to end after SIGTERM.
// A process that cannot end must not keep the address.
const termWait = time.Second

// ErrService says that `berth --fifo` acts for the instance.
var ErrService = errors.New("held by berth --fifo")

// Self returns the record of this process. The fields about its event are not set.
func Self(service bool) (Record, error) {
	id, err := boot.ID()
	if err != nil {
		return Record{}, err
	}
	info, err := pidfd.Stat(os.Getpid())
	if err != nil {
		return Record{}, err
	}
	return Record{PID: info.PID, Start: info.Start, Boot: id, Service: service}, nil
}

// Supersede ends the process that has the lock and returns when it has ended. It sends
// SIGTERM, and SIGKILL if the process is stopped or has not ended after a second. The
// process is found by the record beside the lock file, or else by its socket; if neither
// names one, the error is nil, and the caller tries the lock again. A process whose
// event is newer is not ended, and the error matches ErrSuperseded; nor is a service,
// and the error matches ErrService.
func Supersede(ctx context.Context, lockFile string, self Record, j *journal.Journal) error {
	r, err := ReadRecord(lockFile)
	if err == nil {
		if r.Boot == self.Boot && r.after(self, pidLimit) {
			return superseded(r)
		}
		p, err := r.process(self)
		if err == nil {
			defer p.Close()
			return end(ctx, r, p, self, j)
		}
		if !errors.Is(err, errNoProcess) {
			return err
		}
	}
	// The record is missing, or another user may have written it; or the process that
	// has the lock could not write its record.
	err = supersedeBySocket(ctx, lockFile, self, j)
	if errors.Is(err, errNoListener) || errors.Is(err, errForeign) {
		return nil
	}
	return err
}

// errNoProcess says that a record names no process that can be signalled: the process
// has ended, or is this one.
var errNoProcess = errors.New("names no process")

// process opens the process that the record names. A pid alone may be that of another
// process by now: boot, start time and user must agree.
func (r Record) process(self Record) (*pidfd.Process, error) {
	if r.Boot != self.Boot || r.PID == self.PID {
		return nil, errNoProcess
	}
	p, err := pidfd.Open(r.PID)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoProcess
	}
	if err != nil {
		return nil, err
	}
	if p.Start != r.Start || !ours(r.PID) {
		p.Close()
		return nil, errNoProcess
	}
	return p, nil
}

// ours reports whether a process runs as the effective user of this one, by the
// line "Uid:" of /proc/PID/status (proc(5)): real, effective, saved, file system.
func ours(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if ids, found := strings.CutPrefix(line, "Uid:"); found {
			f := strings.Fields(ids)
			return len(f) == 4 && f[1] == strconv.Itoa(os.Geteuid())
		}
	}
	return false
}

// Ask sends SIGUSR1 to the process that acts for an instance, which it finds as
// Supersede does, unless that is a service. The signal makes the process observe the
// owner of its addresses.
func Ask(ctx context.Context, lockFile string, self Record) error {
	r, err := ReadRecord(lockFile)
	var p *pidfd.Process
	if err == nil {
		p, err = r.process(self)
	}
	if err != nil {
		p, r, err = findBySocket(ctx, socketName(lockFile), self)
	}
	if errors.Is(err, errNoListener) || errors.Is(err, errForeign) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if r.Service {
		return nil
	}
	return p.Signal(unix.SIGUSR1)
}

// end ends the process p, whose record is r.
func end(ctx context.Context, r Record, p *pidfd.Process, self Record, j *journal.Journal) error {
	if r.Service && !self.Service {
		return fmt.Errorf("%w (pid %d); keep either the notify script or the FIFO for this instance", ErrService, p.PID)
	}
	if r.Service {
		return fmt.Errorf("%w (pid %d); only one berth --fifo can hold an instance", ErrService, p.PID)
	}
	j.Tell(formerEnding, zap.Int("pid", p.PID))
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if p.State == 'T' || p.State == 't' {
		return kill(ctx, p, j, "it is stopped")
	}
	termCtx, cancel := context.WithTimeout(ctx, termWait)
	defer cancel()
	if p.Wait(termCtx) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return kill(ctx, p, j, "it did not end after SIGTERM")
}

func kill(ctx context.Context, p *pidfd.Process, j *journal.Journal, reason string) error {
	j.Tell(formerKilled, zap.Int("pid", p.PID), zap.String("reason", reason))
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	return p.Wait(ctx)
}
