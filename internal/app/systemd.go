package app

import (
	"context"
	"errors"

	"berth/internal/run"
	"berth/internal/systemd"
	"berth/internal/upgrade"
)

// systemdTask returns the task that tells systemd how the others are.
func systemdTask(host *systemd.Notifier, others []run.Task, alive func(context.Context)) run.Task {
	return run.Task{Name: "systemd", Run: func(ctx context.Context) error {
		return host.Run(ctx, systemd.Service{
			Ready: func(ctx context.Context) { run.Ready(ctx, others...) },
			Alive: alive,
			Stays: func(cause error) bool { return errors.Is(cause, upgrade.ErrAnew) },
		})
	}}
}
