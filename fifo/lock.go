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

// lockWait is how long a reader waits for the end of the one before it: at a reload,
// keepalived starts its FIFO script again before the former one has ended.
const lockWait = 5 * time.Second

// lockRetry is the time between two attempts. The reader waits for the lock and not for
// the process that has it, whose pid may be one of another PID namespace.
const lockRetry = 10 * time.Millisecond

// ErrBusy says that another process reads the FIFO. Two readers would each get
// a part of the lines.
var ErrBusy = errors.New("another process reads it")

// maxLock bounds a lock file, which holds a pid, in bytes.
const maxLock = 64

// ReaderOf returns the pid of the process that reads the FIFO at path, 0 if none is
// found: the process that the lock file beside the FIFO names, if it has the lock file
// open. A pid of another PID namespace names no process here, or another one. An error
// says that the lock file or the descriptors of the process cannot be read.
func ReaderOf(path string) (pid int, err error) {
	lock := path + ".lock"
	f, err := os.OpenFile(lock, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the reader of FIFO %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxLock))
	f.Close() // lest OpenIn finds it open in this process
	if err != nil {
		return 0, fmt.Errorf("find the reader of FIFO %s: %w", path, err)
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

// Lock makes the caller the only reader of the FIFO at path, until the returned
// function is called or the process ends. It waits five seconds for a reader
// that is about to end; then the error matches ErrBusy. The lock is a file
// beside the FIFO, because keepalived replaces the FIFO itself. An error of
// another kind says that the file cannot be locked, such as one that another user
// made.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	file := path + ".lock"
	waitCtx, cancel := context.WithTimeoutCause(ctx, lockWait, ErrBusy)
	defer cancel()
	for {
		f, err := files.Lock(file)
		if err == nil {
			_ = f.Note(strconv.Itoa(os.Getpid()) + "\n") // for ReaderOf
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
		reader := "its pid is not known"
		if pid, err := ReaderOf(path); err == nil && pid != 0 {
			reader = "pid " + strconv.Itoa(pid)
		}
		return nil, fmt.Errorf("read FIFO %s: %w (%s); keep one, as a service or as keepalived's FIFO script", path, ErrBusy, reader)
	}
}
