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
	"strconv"
	"strings"
	"sync"
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
	Path       string
	Interfaces []string
	Signal     syscall.Signal // that makes keepalived dump its data
}

// dumpSignal asks keepalived for the signal, once for all questions.
var dumpSignal = sync.OnceValues(func() (syscall.Signal, error) {
	out, err := exec.Command("keepalived", "--signum=DATA").Output()
	if err != nil {
		return 0, fmt.Errorf("ask for the number of the DATA signal: %w", err)
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		return 0, fmt.Errorf("ask for the number of the DATA signal: %w", err)
	}
	return syscall.Signal(number), nil
})

func TestMain(m *testing.M) {
	if os.Getenv(oracleVariable) == "" {
		os.Exit(m.Run())
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

// needKeepalived skips the test where keepalived cannot run, and returns its version.
func needKeepalived(t testing.TB) string {
	t.Helper()
	missing := ""
	path, err := exec.LookPath("keepalived")
	switch {
	case os.Geteuid() != 0:
		missing = "needs root, to run keepalived in namespaces of its own"
	case err != nil:
		missing = "needs keepalived: " + err.Error()
	}
	if missing == "" {
		if _, err := exec.LookPath("ip"); err != nil {
			missing = "needs iproute2: " + err.Error()
		}
	}
	if missing != "" {
		if os.Getenv("BERTH_TEST_REQUIRE_ROOT") == "1" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("ask keepalived for its version: %v", err)
	}
	_, rest, _ := strings.Cut(string(out), "Keepalived v")
	version, _, _ := strings.Cut(rest, " ")
	if version == "" {
		t.Fatalf("keepalived --version says %q", out)
	}
	return version
}

// askers bounds how many keepalived run at a time.
var askers = make(chan struct{}, 2)

// askKeepalived runs keepalived with a file, and again if it gives no answer, because
// keepalived misses a signal now and then on a busy machine.
func askKeepalived(q question) (answer, error) {
	askers <- struct{}{}
	defer func() { <-askers }()
	var err error
	if q.Signal, err = dumpSignal(); err != nil {
		return answer{}, err
	}
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

// runKeepalived runs as the first process of new namespaces, so that everything it
// leaves ends with these.
func runKeepalived(q question) (answer, error) {
	scratch := "/run"
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", scratch, "tmpfs", 0, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Sethostname([]byte(configID)),
	); err != nil {
		return answer{}, fmt.Errorf("prepare namespaces: %w", err)
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
	dumps, err := watchClosed(scratch)
	if err != nil {
		return answer{}, err
	}
	logRead, logWrite, err := os.Pipe()
	if err != nil {
		return answer{}, err
	}
	cmd := exec.Command("keepalived", "--vrrp", "--no-syslog", "--dont-fork", "--log-console", "--log-detail", "--dont-respawn",
		"-f", q.Path, "-p", scratch+"/k.pid", "-r", scratch+"/v.pid", "-c", scratch+"/c.pid", "-b", scratch+"/b.pid")
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logWrite, logWrite
	if err := cmd.Start(); err != nil {
		return answer{}, err
	}
	logWrite.Close()
	return watchKeepalived(cmd.Process, q.Signal, scratch, logRead, dumps)
}

// watchClosed reports the names of files in a directory that a process has
// finished writing.
func watchClosed(dir string) (<-chan string, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CLOSE_WRITE); err != nil {
		return nil, err
	}
	names := make(chan string, 100)
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
				names <- name
				b = b[unix.SizeofInotifyEvent+length:]
			}
		}
	}()
	return names, nil
}

// watchKeepalived follows keepalived's log until it is up or has given up,
// and has it dump its data in the former case.
func watchKeepalived(p *os.Process, signal syscall.Signal, dir string, log io.Reader, dumps <-chan string) (answer, error) {
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
	deadline := time.After(10 * time.Second)
	for {
		select {
		case line, open := <-lines:
			text.WriteString(line + "\n")
			switch {
			case !open, strings.Contains(line, "exited with permanent error"), strings.Contains(line, "exited due to"), strings.Contains(line, "Stopped - used"), strings.Contains(line, "Stopping"):
				return answer{Log: text.String()}, nil
			case strings.Contains(line, "has no configuration to run"):
				return answer{Accepted: true, Log: text.String()}, nil
			case strings.Contains(line, "Startup complete") && !strings.Contains(text.String(), "Starting VRRP child"):
				return answer{Accepted: true, Log: text.String()}, nil // other processes only
			case strings.Contains(line, "Startup complete"):
				if err := p.Signal(signal); err != nil {
					return answer{Log: text.String()}, nil
				}
			}
		case name := <-dumps:
			if !strings.HasSuffix(name, ".data") || strings.HasSuffix(name, "_parent.data") || strings.HasSuffix(name, "_bfd.data") {
				continue // of another process
			}
			data, err := os.ReadFile(filepath.Join(dir, name))
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
