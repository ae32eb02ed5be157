package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"berth/election"
	"berth/netif"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// leaving is a cause with which everything ends and stays as it is: lease, keys
// and addresses are for a successor.
type leaving string

// Error returns the reason.
func (l leaving) Error() string { return string(l) }

// Is makes it be the cause that the parts know.
func (leaving) Is(target error) bool { return target == election.ErrLeave || target == netif.ErrLeave }

const (
	// errUpgrade is for the process that the supervisor starts next.
	errUpgrade leaving = "upgrade"
	// errBeginAnew is for the same process, with another configuration.
	errBeginAnew leaving = "the configuration is read again"
)

// checkTime bounds the new binary's check of the configuration.
const checkTime = 10 * time.Second

// awaitUpgrade ends berth on SIGUSR2, by stop, unless a successor could not take
// over, as replaceable says, or the binary that is installed now finds something
// wrong with the configuration.
func (o *Options) awaitUpgrade(ctx context.Context, configPath string, replaceable func() error, stop func(error), log *zap.Logger) error {
	return onSignal(ctx, unix.SIGUSR2, func() {
		if err := o.checkWithNewBinary(ctx, configPath); err != nil {
			log.Error("not upgrading: the new binary refuses the configuration", zap.Error(err))
			return
		}
		if err := replaceable(); err != nil {
			log.Error("not upgrading", zap.Error(err))
			return
		}
		stop(errUpgrade)
	})
}

func (o *Options) checkWithNewBinary(ctx context.Context, configPath string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, o.Executable, "config", "check", configPath)
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second // a child of a wrapper may keep it open
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("run %s: %w", strings.Join(cmd.Args, " "), err), errors.New(strings.TrimSpace(said.String())))
	}
	return nil
}
