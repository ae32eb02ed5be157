package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is a program started in a node.
type Process struct {
	// Log is its standard output and error, and that of its children.
	Log *Log

	cmd    *exec.Cmd
	done   chan struct{}
	said   chan struct{} // closed when no process can write to the log any more
	mu     sync.Mutex
	exited time.Time
	state  *os.ProcessState
}

// Start runs a program in the node, by its path there. name is for the log. It
// runs until it ends by itself, is signalled, or the node is closed.
func (n *Node) Start(name, path string, args ...string) (*Process, error) {
	p := &Process{Log: NewLog(n.Name+" "+name, n.bell), done: make(chan struct{}), said: make(chan struct{})}
	output, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p.cmd = &exec.Cmd{Path: path, Args: append([]string{path}, args...), Stdout: w, Stderr: w, Dir: "/"}

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		output.Close()
		return nil, fmt.Errorf("start %s: node %s is closed", name, n.Name)
	}
	if err := n.Do(p.cmd.Start); err != nil {
		output.Close()
		return nil, fmt.Errorf("start %s in %s: %w", name, n.Name, err)
	}
	n.processes = append(n.processes, p)
	n.readers.Go(func() {
		io.Copy(p.Log, output)
		output.Close()
		close(p.said)
	})
	n.readers.Go(func() {
		p.cmd.Wait() // the status is in ProcessState
		p.mu.Lock()
		p.exited, p.state = time.Now(), p.cmd.ProcessState
		p.mu.Unlock()
		close(p.done)
		n.bell.Ring()
	})
	return p, nil
}

// Run runs a program in the node until it and all processes that share its output
// have ended, and returns that output. A non-zero exit status is an error too.
func (n *Node) Run(ctx context.Context, path string, args ...string) (string, error) {
	p, err := n.Start(path, path, args...)
	if err != nil {
		return "", err
	}
	select {
	case <-p.said:
		<-p.done
	case <-ctx.Done():
		p.Signal(unix.SIGKILL)
		<-p.done
		return p.Log.String(), fmt.Errorf("run %s in %s: %w", path, n.Name, context.Cause(ctx))
	}
	if code := p.ExitCode(); code != 0 {
		return p.Log.String(), fmt.Errorf("run %s in %s: exit status %d", path, n.Name, code)
	}
	return p.Log.String(), nil
}

// Done is closed when the process itself has ended; its children may live on.
func (p *Process) Done() <-chan struct{} { return p.done }

// Said is closed when Log has all that the process and its children have written, after
// the last of them has ended. Done can be closed before Log has the last lines.
func (p *Process) Said() <-chan struct{} { return p.said }

// Exited returns when the process ended; zero while it runs.
func (p *Process) Exited() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// ExitCode returns the exit status, -1 while running and after death by signal.
func (p *Process) ExitCode() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.ExitCode()
}

// PID returns the process id of the node's process 1 as seen from outside, which
// is where nsenter(1) finds the node.
func (n *Node) PID() int { return n.init.Process.Pid }

// PID returns the process id as seen from outside the node.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal; to a process that has ended it does nothing.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.Log.Name, err)
	}
	return nil
}

// Stop sends SIGTERM and waits for the end.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(unix.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", p.Log.Name, context.Cause(ctx))
	}
}

// A Task is any process of a node, whichever process started it.
type Task struct {
	PID      int // seen from outside the node
	LocalPID int // seen in the node
	Parent   int // seen from outside the node; not in the node for what Start started
	Name     string
	Args     []string
	Peak     int // most resident memory so far, in KiB
}

// Tasks lists the processes of the node but its process 1, oldest first as far
// as process ids tell. Zombies have no Args.
func (n *Node) Tasks() ([]Task, error) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var tasks []Task
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == n.init.Process.Pid || !n.owns(pid) {
			continue
		}
		if t, err := task(pid); err == nil { // else it has just ended
			tasks = append(tasks, t)
		}
	}
	slices.SortFunc(tasks, func(a, b Task) int { return a.LocalPID - b.LocalPID })
	return tasks, nil
}

// owns reports whether pid is a process of this node.
func (n *Node) owns(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return false
	}
	ours, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", n.init.Process.Pid))
	return err == nil && ours == theirs
}

func task(pid int) (Task, error) {
	t := Task{PID: pid}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return t, err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			t.Name = value
		case "PPid":
			t.Parent, err = strconv.Atoi(value)
		case "VmHWM":
			t.Peak, err = strconv.Atoi(strings.TrimSuffix(value, " kB"))
		case "NSpid":
			fields := strings.Fields(value)
			t.LocalPID, err = strconv.Atoi(fields[len(fields)-1])
		}
		if err != nil {
			return t, err
		}
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return t, err
	}
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(command, []byte{0}), []byte{0}) {
		t.Args = append(t.Args, string(arg))
	}
	return t, nil
}

// Signal sends a signal to a process of the node, and never to another process that
// has got its id meanwhile.
func (n *Node) Signal(pid int, sig syscall.Signal) error {
	p, err := os.FindProcess(pid) // holds a pidfd
	if err != nil {
		return err
	}
	defer p.Release()
	if !n.owns(pid) {
		return fmt.Errorf("signal process %d: not of node %s", pid, n.Name)
	}
	return p.Signal(sig)
}
