package notify

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"berth/internal/pidfd"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// A Socket is how a successor finds this process where no lock file or record can
// be had: an abstract unix socket (unix(7)) whose name stands for the instance.
// It needs no file system. The kernel tells each side the process and the user of
// the other, which no process can feign. A network namespace has its own abstract
// sockets, so that processes in two of them do not find each other.
type Socket struct {
	listener *net.UnixListener
	answered chan struct{} // closed when nobody is answered any more
}

// Times of the exchange between two processes of this host.
const (
	recordWait  = 250 * time.Millisecond // for the record of a process that may be stopped
	connectWait = 100 * time.Millisecond
	socketRetry = 5 * time.Millisecond
	socketTries = 50 // of a name that is taken while nobody listens
)

var (
	// errNobody says that nothing listens by the name, or not at this moment.
	errNobody = errors.New("nobody listens")
	// errForeign says that the name is taken by a process that is not berth's.
	errForeign = errors.New("the name is taken by a process that cannot be berth for this user")
)

// socketName returns the name of the socket for a lock file. Other users, and
// other pid namespaces, in which pids mean something else, have other names.
func socketName(lockFile string) string {
	if abs, err := filepath.Abs(lockFile); err == nil {
		lockFile = abs
	}
	space, _ := os.Readlink("/proc/self/ns/pid") // the same for all where it cannot be read
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", os.Geteuid(), space, lockFile))
	return fmt.Sprintf("@berth/%x", sum[:16])
}

// Occupy makes this process the one that is found by the socket of a lock file,
// until the socket is closed. A process that is found there already is ended as
// Supersede does, with the same errors, or when ctx ends. A socket that cannot be
// had is a warning, because acting counts more; then the returned socket is nil,
// which can be closed too.
func Occupy(ctx context.Context, lockFile string, self Record, log *zap.Logger) (*Socket, error) {
	name := socketName(lockFile)
	addr := &net.UnixAddr{Net: "unix", Name: name}
	for tries := 0; ; {
		listener, err := net.ListenUnix("unix", addr)
		if err == nil {
			s := &Socket{listener, make(chan struct{})}
			go s.answer(self) // until Close, which waits for it
			return s, nil
		}
		if errors.Is(err, unix.EADDRINUSE) {
			if err = supersedeBySocket(ctx, lockFile, self, log); err == nil {
				continue // it has gone
			}
		}
		switch {
		case errors.Is(err, ErrSuperseded), errors.Is(err, ErrService):
			return nil, err
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errNobody) && tries < socketTries:
			tries++
			select {
			case <-ctx.Done():
			case <-time.After(socketRetry):
			}
			continue
		}
		log.Warn("a successor cannot find this process by its socket", zap.String("socket", name), zap.Error(err))
		return nil, nil
	}
}

// answer gives each process of this user the record, until the listener closes.
func (s *Socket) answer(self Record) {
	defer close(s.answered)
	text, err := json.Marshal(self)
	if err != nil {
		text = nil // the kernel tells pid and user all the same
	}
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(socketRetry) // out of descriptors: the caller waits no longer than recordWait
			continue
		}
		if peer, err := credentials(conn); err == nil && int(peer.Uid) == os.Geteuid() {
			// Far less than a new socket takes without waiting.
			_ = conn.SetWriteDeadline(time.Now().Add(connectWait))
			_, _ = conn.Write(text)
		}
		conn.Close()
	}
}

// Close gives the name up.
func (s *Socket) Close() error {
	if s == nil {
		return nil
	}
	err := s.listener.Close()
	<-s.answered
	return err
}

// supersedeBySocket is Supersede for a process that is found by its socket. The
// error matches errNobody or errForeign if there is none.
func supersedeBySocket(ctx context.Context, lockFile string, self Record, log *zap.Logger) error {
	p, r, err := findBySocket(ctx, socketName(lockFile), self)
	if err != nil {
		return err
	}
	defer p.Close()
	if r.Boot == self.Boot && r.after(self, pidLimit) {
		return superseded(r)
	}
	return end(ctx, r, p, self, log)
}

// findBySocket opens the process that listens by a name, and returns its record;
// of a process that does not answer, because it is stopped, nothing but the pid.
func findBySocket(ctx context.Context, name string, self Record) (*pidfd.Process, Record, error) {
	conn, pid, err := dial(ctx, name)
	if err != nil {
		return nil, Record{}, err
	}
	defer conn.Close()
	if pid == self.PID {
		return nil, Record{}, fmt.Errorf("%w but this process", errNobody)
	}
	p, err := pidfd.Open(pid)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Record{}, errNobody
	}
	if err != nil {
		return nil, Record{}, err
	}
	// Opened by its pid, the process is that one only if it is found there still.
	again, pidAgain, err := dial(ctx, name)
	if err == nil {
		again.Close()
		if pidAgain != pid {
			err = errNobody
		}
	}
	if err != nil {
		p.Close()
		return nil, Record{}, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(recordWait))
	text, err := io.ReadAll(io.LimitReader(conn, maxRecord))
	if err != nil || len(text) == 0 {
		return p, Record{PID: pid}, nil
	}
	// Whatever answers with something else is not berth, and is not signalled.
	r, err := parseRecord(text)
	if err != nil || r.PID != pid || r.Start != p.Start {
		p.Close()
		return nil, Record{}, errForeign
	}
	return p, r, nil
}

// dial connects to the process that listens by a name, and returns its pid. The
// error matches errNobody or errForeign.
func dial(ctx context.Context, name string) (*net.UnixConn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", name)
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EAGAIN) { // the latter while too many connect at a time
		return nil, 0, errNobody
	}
	if err != nil {
		// A socket of another type, or one that lets its callers wait.
		return nil, 0, fmt.Errorf("%w: %w", errForeign, err)
	}
	conn := c.(*net.UnixConn)
	peer, err := credentials(conn)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", errForeign, err)
	case int(peer.Uid) != os.Geteuid():
		err = fmt.Errorf("%w: process %d is of user %d", errForeign, peer.Pid, peer.Uid)
	case peer.Pid == 0:
		err = fmt.Errorf("%w: it is in another pid namespace", errForeign)
	default:
		return conn, int(peer.Pid), nil
	}
	conn.Close()
	return nil, 0, err
}

// credentials returns who is at the other end, see SO_PEERCRED in unix(7).
func credentials(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) { peer, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, err
	}
	return peer, sockErr
}
