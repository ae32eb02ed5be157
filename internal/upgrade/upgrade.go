// Package upgrade replaces the running program without moving anything: the process ends
// with a cause with which lease, keys and addresses stay as they are, for a successor.
package upgrade

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
)

// leaving is a cause with which everything ends and stays as it is.
type leaving string

// Error returns the reason.
func (l leaving) Error() string { return string(l) }

// Is makes it be the cause that the parts know.
func (leaving) Is(target error) bool { return target == election.ErrLeave || target == netif.ErrLeave }

// Causes of an end that moves nothing.
const (
	// ErrSuccessor ends the process for the one that the supervisor starts next.
	ErrSuccessor leaving = "upgrade"
	// ErrAnew ends the parts for the same process, which executes its program anew to
	// read its configuration again.
	ErrAnew leaving = "the configuration is read again"
)

// checkTime bounds the new binary's check of the configuration.
const checkTime = 10 * time.Second

// Check has the binary that is installed at executable by now check a configuration,
// called with args, and returns what it finds wrong.
func Check(ctx context.Context, executable string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, executable, args...)
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second // a child of a wrapper may keep it open
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("run %s: %w", strings.Join(cmd.Args, " "), err), errors.New(strings.TrimSpace(said.String())))
	}
	return nil
}
