package keepalivedconf_test

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// This file asks the installed keepalived what it makes of a file: the test
// binary starts itself in fresh namespaces, creates the interfaces there,
// runs keepalived's VRRP part and reads its data dump.

// configID is the host name inside the namespaces, and so the configuration
// id of every question.
const configID = "oracle-host"

// oracleVariable makes the test binary answer the question on its standard
// input instead of running tests.
const oracleVariable = "BERTH_TEST_KEEPALIVED"

// question is what keepalived is asked.
type question struct {
	Daemon     daemon
	Arguments  []string // to run it with these and read what it says; or else
	Path       string   // of the file to read
	Interfaces []string
}

func TestMain(m *testing.M) {
	if os.Getenv(oracleVariable) == "" {
		code := m.Run()
		if *tablePath != "" {
			if err := compared.write(*tablePath); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		os.Exit(code)
	}
	var q question
	err := gob.NewDecoder(os.Stdin).Decode(&q)
	var a answer
	if err == nil {
		a, err = runKeepalived(q)
	}
	if err != nil {
		a.Error = err.Error()
	}
	if err := gob.NewEncoder(os.Stdout).Encode(a); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// askers bounds how many keepalived run at a time.
var askers = make(chan struct{}, 2)

// askKeepalived runs keepalived with a file, and again if it gives no answer, because
// keepalived misses a signal now and then on a busy machine.
func askKeepalived(q question) (answer, error) {
	askers <- struct{}{}
	defer func() { <-askers }()
	a, err := askOnce(q)
	if errors.Is(err, errSilent) {
		a, err = askOnce(q)
	}
	return a, err
}

// errSilent says that keepalived neither started nor stopped.
var errSilent = errors.New("keepalived neither started nor stopped")

func askOnce(q question) (answer, error) {
	var in bytes.Buffer
	if err := gob.NewEncoder(&in).Encode(q); err != nil {
		return answer{}, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), oracleVariable+"=1")
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.Output()
	if err != nil {
		return answer{}, fmt.Errorf("run keepalived in namespaces: %w: %s", err, stderr.Bytes())
	}
	var a answer
	if err := gob.NewDecoder(bytes.NewReader(out)).Decode(&a); err != nil {
		return answer{}, fmt.Errorf("read the answer %q: %w", out, err)
	}
	switch a.Error {
	case "":
	case errSilent.Error():
		return a, fmt.Errorf("%w: its log:\n%s", errSilent, a.Log)
	default:
		return a, fmt.Errorf("%s: keepalived's log:\n%s", a.Error, a.Log)
	}
	return a, nil
}

// scratch is empty in the namespaces, and what the kernel keeps in memory.
const scratch = "/run"

// runKeepalived runs as the first process of new namespaces, so that everything it
// leaves ends with these.
func runKeepalived(q question) (answer, error) {
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", scratch, "tmpfs", 0, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Sethostname([]byte(configID)),
	); err != nil {
		return answer{}, fmt.Errorf("prepare namespaces: %w", err)
	}
	if q.Daemon.Tree != "" {
		if err := furnish(q.Daemon.Tree); err != nil {
			return answer{}, err
		}
	}
	if q.Arguments != nil {
		out, err := exec.Command(q.Daemon.Program, q.Arguments...).CombinedOutput()
		return answer{Log: string(out)}, err
	}
	var batch strings.Builder
	batch.WriteString("link set lo up\n")
	for _, name := range q.Interfaces {
		fmt.Fprintf(&batch, "link add name \"%s\" type bridge\n", name)
	}
	ip := exec.Command("ip", "-force", "-batch", "-")
	ip.Stdin = strings.NewReader(batch.String())
	if out, err := ip.CombinedOutput(); err != nil {
		return answer{}, fmt.Errorf("create interfaces: %w: %s", err, out)
	}
	dumps := make(chan string, 100)
	if err := watchClosed(scratch, dumps); err != nil {
		return answer{}, err
	}
	if q.Daemon.Tree != "" { // in /tmp, which is this process's own there
		if err := watchClosed("/tmp", dumps); err != nil {
			return answer{}, err
		}
	}
	logRead, logWrite, err := os.Pipe()
	if err != nil {
		return answer{}, err
	}
	cmd := exec.Command(q.Daemon.Program, "--vrrp", "--no-syslog", "--dont-fork", "--log-console", "--log-detail", "--dont-respawn",
		"-f", q.Path, "-p", scratch+"/k.pid", "-r", scratch+"/v.pid", "-c", scratch+"/c.pid", "-b", scratch+"/b.pid")
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logWrite, logWrite
	if err := cmd.Start(); err != nil {
		return answer{}, err
	}
	logWrite.Close()
	return watchKeepalived(cmd.Process, q.Daemon.Signal, logRead, dumps)
}

// furnish puts the /etc of a tree over that of the machine: keepalived reads names of
// routing tables there and, since 2.3, how it was built. Before 2.2 it writes its dump
// into /tmp whatever TMPDIR is, and so that becomes a directory of its own with the
// files of the machine.
func furnish(tree string) error {
	upper, work := scratch+"/tmp", scratch+"/work"
	if err := errors.Join(
		unix.Mount("overlay", "/etc", "overlay", 0, "lowerdir="+tree+"/etc:/etc"),
		os.Mkdir(upper, 0o777), os.Mkdir(work, 0o777),
		unix.Mount("overlay", "/tmp", "overlay", 0, "lowerdir=/tmp,upperdir="+upper+",workdir="+work),
	); err != nil {
		return fmt.Errorf("put the files of %s over those of the machine: %w", tree, err)
	}
	return nil
}

// watchClosed reports the files in a directory that a process has finished writing.
func watchClosed(dir string, paths chan<- string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CLOSE_WRITE); err != nil {
		return err
	}
	go func() { // ends with the process
		buf := make([]byte, 1<<16)
		for {
			n, err := unix.Read(fd, buf)
			if err != nil {
				return
			}
			for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
				length := int(b[12]) | int(b[13])<<8
				name, _, _ := strings.Cut(string(b[16:16+length]), "\x00")
				paths <- filepath.Join(dir, name)
				b = b[unix.SizeofInotifyEvent+length:]
			}
		}
	}()
	return nil
}

// watchKeepalived follows keepalived's log until it is up or has given up,
// and has it dump its data in the former case.
func watchKeepalived(p *os.Process, signal syscall.Signal, log io.Reader, dumps <-chan string) (answer, error) {
	lines := make(chan string)
	go func() { // ends with the process
		s := bufio.NewScanner(log)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			lines <- s.Text()
		}
		close(lines)
	}()
	var text strings.Builder
	deadline := time.After(20 * time.Second)
	var again <-chan time.Time // keepalived misses a signal that comes too early
	for {
		select {
		case <-again:
			if err := p.Signal(signal); err != nil {
				return answer{Log: text.String()}, nil
			}
		case line, open := <-lines:
			text.WriteString(line + "\n")
			switch {
			case !open:
				end, err := p.Wait()
				if err != nil {
					return answer{Log: text.String()}, err
				}
				status, _ := end.Sys().(syscall.WaitStatus)
				return answer{Crashed: status.Signaled(), Log: text.String()}, nil
			case strings.Contains(line, "exited due to"):
				return answer{Crashed: true, Log: text.String()}, nil
			case strings.Contains(line, "exited with permanent error"), strings.Contains(line, "Stopped - used"), strings.Contains(line, "Stopping"):
				return answer{Log: text.String()}, nil
			case strings.Contains(line, "has no configuration to run"):
				return answer{Accepted: true, Log: text.String()}, nil
			case strings.Contains(line, "Startup complete") && !strings.Contains(text.String(), startsVRRP), startsOthers(text.String()):
				return answer{Accepted: true, Log: text.String()}, nil // other processes only
			case again == nil && (strings.Contains(line, "Startup complete") || startsOld(text.String())):
				if err := p.Signal(signal); err != nil {
					return answer{Log: text.String()}, nil
				}
				again = time.Tick(time.Second)
			}
		case path := <-dumps:
			name := filepath.Base(path)
			if !strings.HasSuffix(name, ".data") || strings.HasSuffix(name, "_parent.data") || strings.HasSuffix(name, "_bfd.data") {
				continue // of another process
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return answer{Log: text.String()}, err
			}
			a, err := parseDump(string(data))
			a.Log = text.String()
			return a, errors.Join(err, a.readConsolidated(p.Pid))
		case <-deadline:
			return answer{Log: text.String()}, errSilent
		}
	}
}

// startsOld reports that the VRRP process of a keepalived before 2.2 will answer a signal
// as soon as it is up, which it does not say: the file was opened for the second time, or a
// socket was. The lines of the two processes come in any order.
func startsOld(log string) bool {
	_, rest, _ := strings.Cut(log, "Opening file ")
	path, _, _ := strings.Cut(rest, "\n")
	return isOld(log) && strings.Contains(log, startsVRRP) &&
		(strings.Count(log, "Opening file "+path) > 1 || strings.Contains(log, "Registering gratuitous") || strings.Contains(log, "VRRP sockpool"))
}

// startsOthers reports that a keepalived before 2.2 runs no VRRP process, which it would
// have started before the one for BFD.
func startsOthers(log string) bool {
	return isOld(log) && strings.Contains(log, "Starting BFD child") && !strings.Contains(log, startsVRRP)
}

const startsVRRP = "Starting VRRP child"

func isOld(log string) bool {
	return strings.Contains(log, "Starting Keepalived v2.0.") || strings.Contains(log, "Starting Keepalived v2.1.")
}

// TestOldKeepalivedIsUp judges logs of a keepalived before 2.2, whose processes write in
// any order and which does not say that it is up.
func TestOldKeepalivedIsUp(t *testing.T) {
	const (
		head  = "Starting Keepalived v2.1.5 (07/13,2020)\nOpening file '/x.conf'.\n"
		child = "Starting VRRP child process, pid=9\n"
	)
	for name, tt := range map[string]struct {
		log        string
		up, others bool
	}{
		"parent alone":       {log: head},
		"include of parent":  {log: head + "Opening file '/y.conf'.\n" + child},
		"child has begun":    {log: head + child},
		"child reads":        {log: head + child + "Opening file '/x.conf'.\n", up: true},
		"child writes first": {log: head + "Opening file '/x.conf'.\n" + child, up: true},
		"socket":             {log: head + "VRRP sockpool: [ifindex(2)]\n" + child + "(A) Entering FAULT STATE\n", up: true},
		"BFD only":           {log: head + "Starting BFD child process, pid=9\n", others: true},
		"BFD and VRRP":       {log: head + child + "Starting BFD child process, pid=10\n"},
		"newer":              {log: strings.Replace(head, "v2.1.5", "v2.2.7", 1) + child + "Opening file '/x.conf'.\n"},
	} {
		if up, others := startsOld(tt.log), startsOthers(tt.log); up != tt.up || others != tt.others {
			t.Errorf("%s: VRRP process up %v, others only %v; want %v, %v", name, up, others, tt.up, tt.others)
		}
	}
}
