package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/internal/pidfd"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// patience is how long a predecessor has to end after SIGTERM. One that
// cannot end must not keep the address.
const patience = time.Second

// ErrService says that `berth --fifo` holds the instance.
var ErrService = errors.New("held by berth --fifo")

// Self returns the record of this process, with nothing about its event.
func Self(service bool) (Record, error) {
	boot, err := pidfd.BootID()
	if err != nil {
		return Record{}, err
	}
	info, err := pidfd.Stat(os.Getpid())
	if err != nil {
		return Record{}, err
	}
	return Record{PID: info.PID, Start: info.Start, Boot: boot, Service: service}, nil
}

// Supersede ends the process that holds the lock and returns when it is gone:
// SIGTERM, and SIGKILL when it is stopped or has not ended after a second. The
// process is found by the record beside the lock file, or else by its socket. It
// is no error that neither names one: the caller tries the lock again. The holder
// is left alone when its event is newer, and the error matches ErrSuperseded; so
// is a service, and the error matches ErrService.
func Supersede(ctx context.Context, lockFile string, self Record, log *zap.Logger) error {
	r, err := ReadRecord(lockFile)
	if err == nil {
		if r.Boot == self.Boot && r.after(self, pidLimit) {
			return superseded(r)
		}
		p, err := r.process(self)
		if err == nil {
			defer p.Close()
			return end(ctx, r, p, self, log)
		}
		if !errors.Is(err, errNoProcess) {
			return err
		}
	}
	// The record is missing, or others may have written it; or the process that
	// holds the lock could not put itself on record.
	err = supersedeBySocket(ctx, lockFile, self, log)
	if errors.Is(err, errNobody) || errors.Is(err, errForeign) {
		return nil
	}
	return err
}

// errNoProcess says that a record names no process that can be signalled: it has
// ended, or is this one.
var errNoProcess = errors.New("names no process")

// process opens the process that put itself on record. Its pid alone says
// nothing: it is another process's unless boot, start time and user agree.
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

// Ask sends SIGUSR1 to the process that holds an instance, found as Supersede does,
// unless it is a service. The signal makes it look at the owner of its addresses.
func Ask(ctx context.Context, lockFile string, self Record) error {
	r, err := ReadRecord(lockFile)
	var p *pidfd.Process
	if err == nil {
		p, err = r.process(self)
	}
	if err != nil {
		p, r, err = findBySocket(ctx, socketName(lockFile), self)
	}
	if errors.Is(err, errNobody) || errors.Is(err, errForeign) {
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

// end ends the process p that r is the record of.
func end(ctx context.Context, r Record, p *pidfd.Process, self Record, log *zap.Logger) error {
	if r.Service && !self.Service {
		return fmt.Errorf("%w (pid %d); keep either the notify script or the FIFO for this instance", ErrService, p.PID)
	}
	if r.Service {
		return fmt.Errorf("%w (pid %d); only one berth --fifo can hold an instance", ErrService, p.PID)
	}
	log.Info("ending the process of the former state", zap.Int("pid", p.PID))
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if p.State == 'T' || p.State == 't' {
		return kill(ctx, p, log, "it is stopped")
	}
	termCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.Wait(termCtx) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return kill(ctx, p, log, "it did not end")
}

func kill(ctx context.Context, p *pidfd.Process, log *zap.Logger, why string) error {
	log.Warn("killing the process of the former state", zap.Int("pid", p.PID), zap.String("reason", why))
	if err := p.Signal(unix.SIGKILL); err != nil {
		return err
	}
	return p.Wait(ctx)
}
