package testnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Node is one machine of the lab. Its methods are safe for concurrent use.
type Node struct {
	// Name is the node's host name.
	Name string
	// Console has the output that is written to the descriptors of process 1, to
	// which container images send their logs.
	Console *Log

	bell *Bell
	init *exec.Cmd
	life io.Closer // closing it ends process 1
	nl   *netlink.Handle
	ns   []namespace

	// observing is apart from mu, because Close waits for the readers of observed.
	observing sync.Mutex
	observed  map[int]*Node // by the kernel's id for its network here

	mu        sync.Mutex
	closed    bool
	processes []*Process
	watches   []chan struct{} // closed to end an address subscription
	readers   sync.WaitGroup
}

type namespace struct {
	kind int
	file *os.File
}

// New starts a node with a loopback interface and nothing else. Its logs and
// address events ring bell. Close must be called.
func New(name string, bell *Bell) (*Node, error) {
	n := &Node{Name: name, Console: NewLog(name+" console", bell), bell: bell}
	if err := n.boot(); err != nil {
		return nil, errors.Join(fmt.Errorf("start node %s: %w", name, err), n.Close())
	}
	return n, nil
}

func (n *Node) boot() error {
	output, console, err := os.Pipe()
	if err != nil {
		return err
	}
	defer console.Close()
	n.readers.Go(func() {
		io.Copy(n.Console, output)
		output.Close()
	})
	answer, ready, err := os.Pipe()
	if err != nil {
		return err
	}
	defer answer.Close()
	defer ready.Close()

	n.init = &exec.Cmd{
		Path:       "/proc/self/exe",
		Args:       []string{initName, n.Name},
		Env:        os.Environ(),
		Stdout:     console,
		Stderr:     console,
		ExtraFiles: []*os.File{ready},
		SysProcAttr: &unix.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		},
	}
	life, err := n.init.StdinPipe()
	if err != nil {
		return err
	}
	n.life = life
	if err := n.init.Start(); err != nil {
		n.init = nil
		life.Close()
		return err
	}
	ready.Close()
	if why, err := io.ReadAll(answer); err != nil {
		return err
	} else if len(why) > 0 {
		return errors.New(strings.TrimSpace(string(why)))
	}

	// The file system comes last, because it changes where the others are found.
	for _, ns := range []struct {
		kind int
		name string
	}{
		{unix.CLONE_NEWNET, "net"}, {unix.CLONE_NEWUTS, "uts"}, {unix.CLONE_NEWIPC, "ipc"},
		{unix.CLONE_NEWPID, "pid"}, {unix.CLONE_NEWNS, "mnt"},
	} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", n.init.Process.Pid, ns.name))
		if err != nil {
			return err
		}
		n.ns = append(n.ns, namespace{ns.kind, f})
	}
	if err := n.Do(func() error {
		n.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	}); err != nil {
		return err
	}
	// Duplicate address detection would keep an IPv6 address unusable for a
	// second or two; the lab's addresses are unique by construction.
	for _, key := range []string{"net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad"} {
		if err := n.Sysctl(key, "0"); err != nil {
			return err
		}
	}
	return n.Up("lo")
}

// Do runs f inside all of the node's namespaces, on a thread that is thrown
// away afterwards. Sockets and files opened in f stay in the node and may be
// handed out; goroutines started in f do not run in the node.
func (n *Node) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime ends the thread with the goroutine, so
		// no other goroutine can come to run in the node by accident.
		runtime.LockOSThread()
		if err := n.enter(); err != nil {
			done <- fmt.Errorf("enter node %s: %w", n.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

func (n *Node) enter() error {
	// A thread may only change its mount namespace if it shares its root and
	// working directory with no other (setns(2)).
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	for _, ns := range n.ns {
		if err := unix.Setns(int(ns.file.Fd()), ns.kind); err != nil {
			return fmt.Errorf("setns %s: %w", ns.file.Name(), err)
		}
	}
	return nil
}

// WriteFile writes a file in the node in place of any before, making its
// directory if needed.
func (n *Node) WriteFile(path, content string, mode os.FileMode) error {
	return n.write(path, strings.NewReader(content), mode)
}

// Install copies a file from outside into the node.
func (n *Node) Install(path, from string, mode os.FileMode) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	return n.write(path, f, mode)
}

func (n *Node) write(path string, content io.Reader, mode os.FileMode) error {
	return n.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// A file of the machine may belong to another user, and can be replaced then.
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		// A process forked meanwhile would have the file open for writing, and the kernel
		// executes no such file (ETXTBSY, execve(2)).
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		// Chmod, because the mode given to open is cut by the umask.
		return errors.Join(err, f.Chmod(mode), f.Close())
	})
}

// ReadFile reads a file of the node.
func (n *Node) ReadFile(path string) (content []byte, err error) {
	err = n.Do(func() error {
		content, err = os.ReadFile(path)
		return err
	})
	return content, err
}

// WaitFile watches for a path to come to be; its directory must exist. The
// function returned waits for that, and must be called.
func (n *Node) WaitFile(ctx context.Context, path string) (wait func() error, err error) {
	var watch *os.File
	err = n.Do(func() error {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return err
		}
		watch = os.NewFile(uintptr(fd), "inotify")
		_, err = unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_CREATE|unix.IN_MOVED_TO)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s in %s: %w", path, n.Name, err)
	}
	return func() error {
		defer watch.Close()
		// A past deadline is how a blocked read is told that the context ended.
		defer context.AfterFunc(ctx, func() { watch.SetReadDeadline(time.Unix(1, 0)) })()
		for event := make([]byte, 4096); ; {
			err := n.Do(func() error {
				_, err := os.Lstat(path)
				return err
			})
			if !errors.Is(err, os.ErrNotExist) {
				return err
			}
			// Any event is a reason to look for the file again.
			if _, err := watch.Read(event); err != nil {
				return fmt.Errorf("wait for %s in %s: %w", path, n.Name, errors.Join(context.Cause(ctx), err))
			}
		}
	}, nil
}

// Pipe makes a FIFO in the node and returns a log of what is written to it: the
// way to hear from scripts whose output keepalived sends to /dev/null.
func (n *Node) Pipe(path string) (*Log, error) {
	log := NewLog(n.Name+" "+path, n.bell)
	var f *os.File
	err := n.Do(func() (err error) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := unix.Mkfifo(path, 0o666); err != nil {
			return fmt.Errorf("make fifo %s: %w", path, err)
		}
		// Opened for writing as well, so that the reader sees no end between writers,
		// and non-blocking, so that Close interrupts the reader.
		f, err = os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	n.mu.Lock()
	n.watches = append(n.watches, stop)
	n.mu.Unlock()
	n.readers.Go(func() { io.Copy(log, f) })
	n.readers.Go(func() {
		<-stop
		f.Close()
	})
	return log, nil
}

// Close kills every process of the node and frees all it has. It may be called
// more than once.
func (n *Node) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	for _, stop := range n.watches {
		close(stop)
	}
	if n.init != nil {
		n.life.Close()
		n.init.Wait() // status 1 if prepare failed, which New has told
	}
	for _, p := range n.processes {
		<-p.Done()
	}
	if n.nl != nil {
		n.nl.Close()
	}
	for _, ns := range n.ns {
		ns.file.Close()
	}
	n.readers.Wait()
	return nil
}
