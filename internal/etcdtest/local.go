package etcdtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// local makes places on this machine. They lie on an address of their own in
// 127.0.0.0/8: no process gets a port there by accident, as the source of a
// connection, while a member is down.
func local(dir string, members int) ([]Place, error) {
	var places []Place
	host := netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
	for i := range members {
		port := uint16(2379 + 10*i)
		p := Place{
			Proxy:   netip.AddrPortFrom(host, port),
			Peer:    netip.AddrPortFrom(host, port+1),
			Client:  netip.AddrPortFrom(host, port+2),
			Metrics: netip.AddrPortFrom(host, port+3),
			Dir:     filepath.Join(dir, fmt.Sprintf("member%d", i+1)),
			Write:   func(path, content string, mode os.FileMode) error { return os.WriteFile(path, []byte(content), mode) },
			Dial:    net.Dial,
		}
		p.Run = func(name, path string, args ...string) (Process, error) {
			return run(logPath(p.Dir, name), path, args...)
		}
		if err := os.Mkdir(p.Dir, 0o700); err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

func logPath(dir, name string) string { return filepath.Join(dir, name+".log") }

type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// run starts a program that the kernel kills when this one dies. Its output is
// appended to a file.
func run(log, path string, args ...string) (Process, error) {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the thread that started the process
		// ends (prctl(2)), so that thread must not end before the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait() // killed
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}
