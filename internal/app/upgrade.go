package app

import (
	"context"

	"berth/internal/run"
	"berth/internal/upgrade"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// onUpgrade returns the task that ends berth on SIGUSR2, by stop, unless a successor
// could not take over, as replaceable says, or the binary that is installed now, called
// with the arguments of check, finds something wrong with the configuration.
func (o *Options) onUpgrade(check []string, replaceable func() error, stop func(error)) run.Task {
	return run.OnSignal("upgrade", unix.SIGUSR2, func(ctx context.Context) {
		err := upgrade.Check(ctx, o.Executable, check...)
		if err != nil {
			o.Journal().Tell(upgradeRefused, zap.Error(err))
			return
		}
		if err := replaceable(); err != nil {
			o.Journal().Tell(upgradeImpossible, zap.Error(err))
			return
		}
		stop(upgrade.ErrSuccessor)
	})
}

// checking returns the arguments with which a program of berth checks a configuration
// before it takes over.
func checking(configPath string) []string {
	return []string{"config", "check", "--without-files", configPath}
}
