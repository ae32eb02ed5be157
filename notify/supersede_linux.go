package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
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
// SIGTERM, and SIGKILL when it is stopped or has not ended after a second. A
// record that is stale, or missing because its process has not written it yet,
// is no error: the caller tries the lock again. The holder is left alone when
// its event is newer, and the error matches ErrSuperseded; so is a service, and
// the error matches ErrService.
func Supersede(ctx context.Context, lockFile string, self Record, log *zap.Logger) error {
	r, err := ReadRecord(lockFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Boot != self.Boot || r.PID == self.PID {
		return nil
	}
	if r.after(self, pidLimit) {
		return superseded(r)
	}
	p, err := pidfd.Open(r.PID)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if p.Start != r.Start {
		return nil // the pid is another process's by now
	}
	if r.Service && !self.Service {
		return fmt.Errorf("%w (pid %d); keep either the notify script or the FIFO for this instance", ErrService, r.PID)
	}
	if r.Service {
		return fmt.Errorf("%w (pid %d); only one berth --fifo can hold an instance", ErrService, r.PID)
	}
	log.Info("ending the process of the former state", zap.Int("pid", r.PID))
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
