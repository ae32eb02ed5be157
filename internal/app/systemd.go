package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// What is said to systemd, see sd_notify(3). Without systemd it is said to
// nobody.
const (
	ready    = daemon.SdNotifyReady
	stopping = daemon.SdNotifyStopping
	watchdog = daemon.SdNotifyWatchdog
)

// reloading says that a reload has begun; systemd wants to know when.
func reloading() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return daemon.SdNotifyReloading
	}
	return fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000)
}

func notifySystemd(log *zap.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("cannot tell systemd", zap.Error(err))
	}
}

// tellSystemd says that berth is ready as soon as turn returns, and goes on to
// say that it lives as often as systemd wants to hear it. turn returns when the
// reader has gone round once: a berth that does not drain the FIFO is not alive.
func tellSystemd(ctx context.Context, turn func(context.Context), log *zap.Logger) error {
	turn(ctx)
	if ctx.Err() == nil {
		notifySystemd(log, ready)
	}
	defer func() {
		if !errors.Is(context.Cause(ctx), errBeginAnew) {
			notifySystemd(log, stopping)
		}
	}()
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("cannot tell what systemd's watchdog wants", zap.Error(err))
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
		turn(ctx)
		if ctx.Err() == nil {
			notifySystemd(log, watchdog)
		}
	}
}
