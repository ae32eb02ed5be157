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

	"berth/internal/journal"
	"berth/internal/pidfd"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// A Socket lets the process of the next event find this one where neither a lock file
// nor a record can be written: it is an abstract unix socket (unix(7)) whose name stands
// for the instance. It needs no file system. The kernel tells each side the process and
// the user of the other, which no process can forge. Each network namespace has its own
// abstract sockets, so that processes in two namespaces do not find each other.
type Socket struct {
	listener *net.UnixListener
	answered chan struct{} // closed when the last caller has been answered
}

// Times of the exchange between two processes of this host.
const (
	recordWait  = 250 * time.Millisecond // for the record of a process that may be stopped
	connectWait = 100 * time.Millisecond
	socketRetry = 5 * time.Millisecond
	socketTries = 50 // while the name is in use and no process accepts connections
)

var (
	// errNoListener says that no process listens by the name, or not at this moment.
	errNoListener = errors.New("no process listens")
	// errForeign says that a process other than berth has the name.
	errForeign = errors.New("the name is taken by a process that cannot be berth for this user")
)

// socketName returns the name of the socket for a lock file. Each user has other names,
// and so has each PID namespace, because a pid means another process there.
func socketName(lockFile string) string {
	if abs, err := filepath.Abs(lockFile); err == nil {
		lockFile = abs
	}
	space, _ := os.Readlink("/proc/self/ns/pid") // "" for every process where it cannot be read
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\x00%s\x00%s", os.Geteuid(), space, lockFile))
	return fmt.Sprintf("@berth/%x", sum[:16])
}

// Occupy makes this process the one that is found by the socket of a lock file, until
// the socket is closed. It ends a process that is found there already, as Supersede
// does and with the same errors, and returns the cause of ctx if that ends first. A
// socket that cannot be opened is a warning, because it must not prevent a claim; then
// the returned socket is nil, which may be closed too.
func Occupy(ctx context.Context, lockFile string, self Record, j *journal.Journal) (*Socket, error) {
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
			if err = supersedeBySocket(ctx, lockFile, self, j); err == nil {
				continue // the other process has ended
			}
		}
		switch {
		case errors.Is(err, ErrSuperseded), errors.Is(err, ErrService):
			return nil, err
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errNoListener) && tries < socketTries:
			tries++
			select {
			case <-ctx.Done():
			case <-time.After(socketRetry):
			}
			continue
		}
		j.Tell(socketUnavailable, zap.String("socket", name), zap.Error(err))
		return nil, nil
	}
}

// answer sends the record to each process of this user that connects, until the
// listener is closed.
func (s *Socket) answer(self Record) {
	defer close(s.answered)
	text, err := json.Marshal(self)
	if err != nil {
		text = nil // the kernel tells the pid and the user without it
	}
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(socketRetry) // as without a free descriptor; the caller waits for recordWait at most
			continue
		}
		if peer, err := credentials(conn); err == nil && int(peer.Uid) == os.Geteuid() {
			// The record is far smaller than the buffer of a new socket.
			_ = conn.SetWriteDeadline(time.Now().Add(connectWait))
			_, _ = conn.Write(text)
		}
		conn.Close()
	}
}

// Close frees the name and waits for the goroutine that answers.
func (s *Socket) Close() error {
	if s == nil {
		return nil
	}
	err := s.listener.Close()
	<-s.answered
	return err
}

// supersedeBySocket is Supersede for a process that is found by its socket. The
// error matches errNoListener or errForeign if there is none.
func supersedeBySocket(ctx context.Context, lockFile string, self Record, j *journal.Journal) error {
	p, r, err := findBySocket(ctx, socketName(lockFile), self)
	if err != nil {
		return err
	}
	defer p.Close()
	if r.Boot == self.Boot && r.after(self, pidLimit) {
		return superseded(r)
	}
	return end(ctx, r, p, self, j)
}

// findBySocket opens the process that listens by a name, and returns its record. The
// record of a process that does not answer, because it is stopped, has only the pid.
func findBySocket(ctx context.Context, name string, self Record) (*pidfd.Process, Record, error) {
	conn, pid, err := dial(ctx, name)
	if err != nil {
		return nil, Record{}, err
	}
	defer conn.Close()
	if pid == self.PID {
		return nil, Record{}, fmt.Errorf("%w but this one", errNoListener)
	}
	p, err := pidfd.Open(pid)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Record{}, errNoListener
	}
	if err != nil {
		return nil, Record{}, err
	}
	// The pid may have been recycled before it was opened. The process that was opened
	// is the listener if the listener still has that pid.
	again, pidAgain, err := dial(ctx, name)
	if err == nil {
		again.Close()
		if pidAgain != pid {
			err = errNoListener
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
	// A process that answers with anything but its record is not berth, and must not be
	// signalled.
	r, err := parseRecord(text)
	if err != nil || r.PID != pid || r.Start != p.Start {
		p.Close()
		return nil, Record{}, errForeign
	}
	return p, r, nil
}

// dial connects to the process that listens by a name, and returns its pid. The
// error matches errNoListener or errForeign.
func dial(ctx context.Context, name string) (*net.UnixConn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", name)
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EAGAIN) { // EAGAIN while the queue of the listener is full
		return nil, 0, errNoListener
	}
	if err != nil {
		// A socket of another type, or one that does not accept the connection in time.
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
		err = fmt.Errorf("%w: the process is in another PID namespace", errForeign)
	default:
		return conn, int(peer.Pid), nil
	}
	conn.Close()
	return nil, 0, err
}

// credentials returns process and user at the other end, see SO_PEERCRED in unix(7).
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
