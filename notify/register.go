package notify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/internal/journal"
)

// Register makes this process be found by a successor of the event, by its socket and by
// a record beside each of the lock files that are locked, of which lockFile is the one
// for which the socket stands. A process that is found by the socket is ended first,
// within a timeout. The error matches ErrSuperseded if the event is not the newest. leave
// gives up the socket; the records stay.
func Register(ctx context.Context, lockFile string, locked []string, self Record, timeout time.Duration, j *journal.Journal) (leave func() error, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("the process of the former state did not end within the lock timeout of %v", timeout))
	defer cancel()
	socket, err := Occupy(ctx, lockFile, self, j)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(locked, lockFile) {
		locked = append(slices.Clone(locked), lockFile) // a record that can be read counts all the same
	}
	if err := Enter(self, j, locked...); err != nil {
		_ = socket.Close() // the error of the event says more
		return nil, err
	}
	return socket.Close, nil
}
