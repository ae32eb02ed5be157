// Package systemd tells systemd how the service is, in the words of sd_notify(3):
// ready, reloading, stopping, and alive as often as the watchdog of the unit wants it.
// Without systemd ($NOTIFY_SOCKET is not set) nothing is told.
package systemd

import (
	"context"
	"fmt"
	"time"

	"berth/internal/journal"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Notifier is the way to systemd. Its methods may be called by several goroutines at
// once.
type Notifier struct {
	telling  *journal.Condition
	watchdog *journal.Condition
}

// New returns the way to systemd. It tells nothing yet.
func New(j *journal.Journal) *Notifier {
	return &Notifier{telling: j.Condition(), watchdog: j.Condition()}
}

// Service is what systemd is told about.
type Service struct {
	// Ready waits until the service is ready, or until ctx ends.
	Ready func(ctx context.Context)
	// Alive, which may be nil, returns when the service has done what a service does
	// that works, or when ctx ends. The watchdog is told after each return.
	Alive func(ctx context.Context)
	// Stays, which may be nil, reports whether the process goes on as the same service
	// after an end with this cause. Then systemd is not told that the service stops.
	Stays func(cause error) bool
}

// Run tells that the service is ready as soon as it is, and then that it is alive, at
// three times the rate that the unit's WatchdogSec= wants. When ctx ends it tells that
// the service stops and returns ctx's cause.
func (n *Notifier) Run(ctx context.Context, s Service) error {
	s.Ready(ctx)
	if ctx.Err() == nil {
		n.Ready()
	}
	defer func() {
		if s.Stays == nil || !s.Stays(context.Cause(ctx)) {
			n.tell(daemon.SdNotifyStopping)
		}
	}()
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.watchdog.Fail(watchdogUnknown, err)
	}
	if err != nil || interval == 0 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	tick := time.NewTicker(interval / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if s.Alive != nil {
			s.Alive(ctx)
		}
		if ctx.Err() == nil {
			n.tell(daemon.SdNotifyWatchdog)
		}
	}
}

// Ready tells that the service is ready, at its start or after a reload.
func (n *Notifier) Ready() { n.tell(daemon.SdNotifyReady) }

// Reloading tells that a reload has begun. Ready must follow, also if the reload fails.
func (n *Notifier) Reloading() {
	var now unix.Timespec // systemd wants to know since when
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		n.tell(daemon.SdNotifyReloading)
		return
	}
	n.tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/int64(time.Microsecond)))
}

func (n *Notifier) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.telling.Fail(unreachable, err, zap.String("state", state))
		return
	}
	n.telling.Clear()
}
