// Command play keeps a lab of two hosts up to try berth by hand:
//
//	play up [elect|link|keepalived]
//	play down
//
// The lab lives in a process in the background, whose id and log lie beside the
// program, and ends with it. All machines of the lab are namespaces.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

const usage = "usage: play up [elect|link|keepalived] | play down"

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir := filepath.Dir(self)
	mode := "elect"
	if len(args) > 1 {
		mode = args[1]
	}
	build, known := modes[mode]
	switch {
	case !known || len(args) > 2:
		return errors.New(usage)
	case args[0] == "up":
		// The process in the background is then root in the user's own namespace.
		if exit, ran, err := testnet.Unprivileged(); ran || err != nil {
			if err == nil && exit != 0 {
				os.Exit(exit) // it has said why
			}
			return err
		}
		return up(self, dir, mode)
	case args[0] == "down":
		return down(self, dir)
	case args[0] == "stay":
		return stay(dir, build)
	}
	return errors.New(usage)
}

func pidFile(dir string) string { return filepath.Join(dir, "lab.pid") }
func logFile(dir string) string { return filepath.Join(dir, "lab.log") }

// ready ends what the process in the background says to the one that started it.
const ready = "make lab-down removes it."

// up starts the process in the background and shows what it says until it is
// ready.
func up(self, dir, mode string) error {
	if p, err := find(self, dir); err == nil {
		p.Release()
		return errors.New("there is one already: make lab-down removes it")
	}
	log, err := os.Create(logFile(dir))
	if err != nil {
		return err
	}
	defer log.Close()
	said, say, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "stay", mode)
	cmd.Stdout, cmd.Stderr = say, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // survives the terminal
	err = cmd.Start()
	say.Close()
	if err != nil {
		return err
	}
	if err := os.WriteFile(pidFile(dir), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		fmt.Println(lines.Text())
		if lines.Text() == ready {
			return cmd.Process.Release()
		}
	}
	err = cmd.Wait()
	why, _ := os.ReadFile(logFile(dir))
	return errors.Join(fmt.Errorf("start: %w\n%s", err, why), os.Remove(pidFile(dir)))
}

// errNone says that there is no lab.
var errNone = errors.New("there is no lab")

// find returns the process in the background. Its id may belong to another process
// by now, so that process must run this program.
func find(self, dir string) (*os.Process, error) {
	text, err := os.ReadFile(pidFile(dir))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNone, err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", pidFile(dir), err)
	}
	p, err := os.FindProcess(pid) // holds a pidfd
	if err != nil {
		return nil, err
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || strings.TrimSuffix(exe, " (deleted)") != self {
		p.Release()
		return nil, fmt.Errorf("%w: process %d is another", errNone, pid)
	}
	return p, nil
}

func down(self, dir string) error {
	p, err := find(self, dir)
	if errors.Is(err, errNone) {
		fmt.Println(errNone)
		os.Remove(pidFile(dir))
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Release()
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	// A pidfd becomes readable when its process ends.
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20_000); n != 1 {
		return fmt.Errorf("wait for process %d to end: %w", p.Pid, errors.Join(err, os.ErrDeadlineExceeded))
	}
	return os.Remove(pidFile(dir))
}

// A scene is a lab to play in.
type scene struct {
	close func() error
	// until waits for cond, which it evaluates again after everything that happens.
	until func(ctx context.Context, what string, cond func() bool) error
	logs  func() []*testnet.Log
	// moves returns all changes of the addresses, a line each.
	moves func() []testnet.Line
	nodes []*testnet.Node
	about string
	// reach tells how the hosts are reached from the machine that the lab is on.
	reach []string
	try   []string
}

// stay keeps the lab until SIGTERM and writes its log.
func stay(dir string, build func(dir string) (*scene, error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	tmp, err := os.MkdirTemp("", "berth-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	s, err := build(tmp)
	if err != nil {
		return err
	}
	explain(os.Stdout, dir, s)
	os.Stdout.Close()
	follow(ctx, os.Stderr, s)
	return s.close()
}

func explain(w io.Writer, dir string, s *scene) {
	fmt.Fprintf(w, "%s\n\n", s.about)
	credentials := ""
	if unprivileged() {
		credentials = " --preserve-credentials"
	}
	for _, n := range s.nodes {
		fmt.Fprintf(w, "  %-8s nsenter -a%s -t %d bash\n", n.Name, credentials, n.PID())
	}
	for _, line := range s.reach {
		fmt.Fprintf(w, "\n%s", line)
	}
	if len(s.reach) > 0 {
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\nWhat happens:  tail -f %s\n\nTry, in a shell on a host:\n", logFile(dir))
	for _, t := range s.try {
		fmt.Fprintf(w, "  %s\n", t)
	}
	fmt.Fprintf(w, "\n%s\n", ready)
}

// unprivileged reports whether root here is a user outside.
func unprivileged() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && len(strings.Fields(string(text))) == 3 && strings.Fields(string(text))[1] != "0"
}

// follow writes what happens, as it happens, until the context ends.
func follow(ctx context.Context, w io.Writer, s *scene) {
	seen := make(map[*testnet.Log]int)
	moved := 0
	s.until(ctx, "the end", func() bool {
		news := s.moves()[moved:]
		moved += len(news)
		for _, log := range s.logs() {
			if strings.Contains(log.Name, "etcd") { // it logs much, and nothing that helps
				continue
			}
			lines := log.Lines()[seen[log]:]
			seen[log] += len(lines)
			for _, line := range lines {
				news = append(news, testnet.Line{Time: line.Time, Text: log.Name + ": " + line.Text})
			}
		}
		slices.SortStableFunc(news, func(a, b testnet.Line) int { return a.Time.Compare(b.Time) })
		for _, n := range news {
			fmt.Fprintln(w, n.Time.Format("15:04:05.000"), n.Text)
		}
		return false
	})
}
