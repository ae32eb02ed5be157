package fifo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/files"
)

// lockPatience is how long a newcomer waits for the reader before it. keepalived
// starts its FIFO script anew at a reload before the former one has ended.
const lockPatience = 5 * time.Second

// lockRetry spaces the attempts. A reader that ends leaves nothing else to
// wait for: its pid may be one of another namespace.
const lockRetry = 10 * time.Millisecond

// ErrBusy says that another process reads the FIFO. Two readers would each get
// a part of the lines.
var ErrBusy = errors.New("another process reads it")

// maxLock bounds a lock file, which holds a pid.
const maxLock = 64

// ReaderOf returns the process that reads the FIFO at path, 0 if none is seen: the
// one that the lock beside it names, if that has the lock open. A pid of another
// PID namespace names nobody, or somebody else. The error says that it cannot be
// seen.
func ReaderOf(path string) (pid int, err error) {
	lock := path + ".lock"
	f, err := os.OpenFile(lock, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for the reader of FIFO %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxLock))
	f.Close() // before the look at who has it open
	if err != nil {
		return 0, fmt.Errorf("look for the reader of FIFO %s: %w", path, err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, nil
	}
	open, err := OpenIn(pid, lock)
	if err != nil || !open {
		return 0, err
	}
	return pid, nil
}

// Lock makes the caller the one reader of the FIFO at path, until the returned
// function is called or the process ends. It waits five seconds for a reader
// that is about to end; then the error matches ErrBusy. The lock is a file
// beside the FIFO, because keepalived replaces the FIFO itself. An error of
// another kind says that no lock can be had there, such as where another user
// made that file.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	file := path + ".lock"
	waitCtx, cancel := context.WithTimeoutCause(ctx, lockPatience, ErrBusy)
	defer cancel()
	for {
		f, err := files.Lock(file)
		if err == nil {
			_ = f.Note(strconv.Itoa(os.Getpid()) + "\n") // for the message to a later reader
			return f.Close, nil
		}
		if !errors.Is(err, files.ErrLocked) {
			return nil, fmt.Errorf("lock FIFO %s: %w", path, err)
		}
		select {
		case <-waitCtx.Done():
		case <-time.After(lockRetry):
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		owner := "its pid is not known"
		if pid, err := ReaderOf(path); err == nil && pid != 0 {
			owner = "pid " + strconv.Itoa(pid)
		}
		return nil, fmt.Errorf("read FIFO %s: %w (%s); keep one, as a service or as keepalived's FIFO script", path, ErrBusy, owner)
	}
}
