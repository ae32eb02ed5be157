package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/status"

	"golang.org/x/sys/unix"
)

// fencedHost is a directory that stands for a host on which keepalived is MASTER.
type fencedHost struct {
	t    *testing.T
	name string
	dir  string
}

// newFencedHost makes a host, with extra keys in the section fencing.
func newFencedHost(t *testing.T, name, etcd, extra string) *fencedHost {
	t.Helper()
	h := &fencedHost{t, name, asBerth(t)}
	for file, text := range map[string]string{
		"keepalived.conf": oneInstance,
		"berth.yml": fmt.Sprintf("provider: fake\nkeepalived-config: %[1]s/keepalived.conf\nlock-file-template: %[1]s/lock-%%s\n"+
			"run-directory: %[1]s/run\nkeepalived-pid-file: %[1]s/pid\nrefresh-interval: 100ms\n"+
			"etcd: {endpoints: [%[2]q], member: %[3]s, lease-ttl: 2s}\nfencing: {enabled: true%[4]s}\n", h.dir, etcd, name, extra),
	} {
		if err := os.WriteFile(filepath.Join(h.dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// fencedBerth is a berth that runs; each line of its output is an event.
type fencedBerth struct {
	host  *fencedHost
	cmd   *exec.Cmd
	lines chan string
	fifo  *os.File
}

// keepalived starts what berth takes for the keepalived of this host, until the test
// ends. Without one, a notify script that keepalived did not start takes any keepalived
// of the machine for its own, and ends when that does: one of another test, for example.
func (h *fencedHost) keepalived() {
	h.t.Helper()
	path := filepath.Join(h.dir, "keepalived")
	if _, err := os.Stat(path); err == nil {
		return // it runs
	}
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, shell, 0o700); err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", "read forever")
	in, err := cmd.StdinPipe() // which nothing is written to
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	if err := os.WriteFile(filepath.Join(h.dir, "pid"), fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// start runs berth until the test ends.
func (h *fencedHost) start(args ...string) *fencedBerth {
	h.t.Helper()
	b := &fencedBerth{host: h, cmd: exec.Command(filepath.Join(h.dir, "berth"), args...), lines: make(chan string, 1000)}
	b.cmd.Dir = h.dir
	var reading sync.WaitGroup
	for _, pipe := range []func() (io.ReadCloser, error){b.cmd.StdoutPipe, b.cmd.StderrPipe} {
		r, err := pipe()
		if err != nil {
			h.t.Fatal(err)
		}
		reading.Go(func() {
			for s := bufio.NewScanner(r); s.Scan(); {
				select {
				case b.lines <- s.Text():
				default: // no test waits for so many lines
				}
			}
		})
	}
	if err := b.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		reading.Wait()
		_ = b.cmd.Wait()
	})
	return b
}

// master starts berth in a mode, with the event that this host is MASTER.
func (h *fencedHost) master(mode string) *fencedBerth {
	h.t.Helper()
	if mode == "notify" {
		h.keepalived()
		return h.start("berth.yml", "INSTANCE", "VI_1", "MASTER", "100")
	}
	path := filepath.Join(h.dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil && err != unix.EEXIST {
		h.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString("INSTANCE \"VI_1\" MASTER 100\n"); err != nil {
		h.t.Fatal(err)
	}
	b := h.start("--fifo", "berth.yml", "fifo")
	b.fifo = f
	return b
}

// says waits for a line that contains want, and fails the test if a line before it
// contains one of never.
func (b *fencedBerth) says(want string, never ...string) time.Time {
	b.host.t.Helper()
	end := time.After(waitLimit)
	var said []string
	for {
		select {
		case line := <-b.lines:
			if len(said) < 50 {
				said = append(said, line)
			}
			if strings.Contains(line, want) {
				return time.Now()
			}
			for _, n := range never {
				if strings.Contains(line, n) {
					b.host.t.Fatalf("%s: want no %q before %q, got %s", b.host.name, n, want, line)
				}
			}
		case <-end:
			b.host.t.Fatalf("%s: want %q, got\n%s", b.host.name, want, strings.Join(said, "\n"))
		}
	}
}

// hasNotSaid fails the test if a line after the last one that says has read
// contains the text.
func (b *fencedBerth) hasNotSaid(text string) {
	b.host.t.Helper()
	for {
		select {
		case line := <-b.lines:
			if strings.Contains(line, text) {
				b.host.t.Errorf("%s: want no %q, got %s", b.host.name, text, line)
			}
		default:
			return
		}
	}
}

const refreshed = "REFRESH 192.0.2.1/24"

func TestOfTwoMastersOnlyTheOwnerOfTheLeaseActs(t *testing.T) {
	for _, mode := range []string{"notify", "fifo"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			etcd := etcdtest.Start(t, 1, etcdtest.Options{})
			endpoint := etcd.Endpoints()[0]
			h1, h2 := newFencedHost(t, "h1", endpoint, ""), newFencedHost(t, "h2", endpoint, "")
			one := h1.master(mode)
			one.says(refreshed)
			two := h2.master(mode)
			two.says("another member is the owner", refreshed)

			// A berth that ends cleanly hands over at once; one that is killed, when its
			// lease ends.
			if err := one.cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			two.says(refreshed)
			one = h1.master(mode)
			one.says("MASTER, but not acting", refreshed)
			if err := two.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			one.says(refreshed)

			// Without etcd no host acts for longer than the lease.
			if err := etcd.Member(0).Pause(); err != nil {
				t.Fatal(err)
			}
			one.says(`MASTER, but not acting {"instance": "VI_1", "code": "instance-withheld", "error": "etcd does not answer"`)
			two = h2.master(mode)
			two.says(`MASTER, but not acting {"instance": "VI_1", "code": "instance-withheld", "error": "etcd does not answer"`, refreshed)
			if err := etcd.Member(0).Resume(); err != nil {
				t.Fatal(err)
			}
			for end, acts := time.After(waitLimit), false; !acts; {
				select {
				case line := <-one.lines:
					acts = strings.Contains(line, refreshed)
				case line := <-two.lines:
					acts = strings.Contains(line, refreshed)
				case <-end:
					t.Fatal("want one of them to act again")
				}
			}
		})
	}
}

func TestARestartedServiceAdoptsItsLeaseAndStaysTheOwner(t *testing.T) {
	etcd := etcdtest.Start(t, 1, etcdtest.Options{})
	h1, h2 := newFencedHost(t, "h1", etcd.Endpoints()[0], ""), newFencedHost(t, "h2", etcd.Endpoints()[0], "")
	for _, how := range []struct {
		name string
		end  unix.Signal
	}{{"killed", unix.SIGKILL}, {"upgraded", unix.SIGUSR2}} {
		one := h1.master("fifo")
		one.says(refreshed)
		two := h2.master("fifo")
		two.says("MASTER, but not acting")
		if err := one.cmd.Process.Signal(how.end); err != nil {
			t.Fatal(err)
		}
		_, _ = one.cmd.Process.Wait()
		one = h1.master("fifo")
		one.says(refreshed, "another member is the owner")
		// h2 goes on waiting for longer than a lease.
		end := time.After(3 * time.Second)
		for waiting := true; waiting; {
			select {
			case line := <-two.lines:
				if strings.Contains(line, refreshed) {
					t.Errorf("%s: want h2 to wait, it acts", how.name)
					waiting = false
				}
			case <-end:
				waiting = false
			}
		}
		for _, b := range []*fencedBerth{one, two} {
			if err := b.cmd.Process.Signal(unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_, _ = b.cmd.Process.Wait()
		}
	}
}

func TestTheStatusTellsTheOwnershipAfterAReload(t *testing.T) {
	etcd := etcdtest.Start(t, 1, etcdtest.Options{})
	h := newFencedHost(t, "h1", etcd.Endpoints()[0], "")
	one := h.master("fifo")
	one.says(refreshed)
	// later waits until the status has a token that is newer than a former one.
	later := func(former int64) int64 {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(waitLimit); time.Now().Before(end); <-tick.C {
			all, err := status.Read(filepath.Join(h.dir, "run"))
			if err == nil && len(all) == 1 && all[0].Owner == "h1" && all[0].Token > former {
				return all[0].Token
			}
		}
		t.Fatalf("the status has no token later than %d", former)
		return 0
	}
	token := later(0)
	if err := one.cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	one.says("the configuration was read again")
	one.says(refreshed)
	for _, state := range []string{"BACKUP", "MASTER"} {
		if _, err := one.fifo.WriteString("INSTANCE \"VI_1\" " + state + " 100\n"); err != nil {
			t.Fatal(err)
		}
		one.says("state changed")
	}
	one.says(refreshed)
	later(token)
}

func TestAllowLetsVRRPAloneDecideWithoutEtcd(t *testing.T) {
	etcd := etcdtest.Start(t, 1, etcdtest.Options{})
	h := newFencedHost(t, "h1", etcd.Endpoints()[0], ", on-etcd-loss: allow")
	one := h.master("notify")
	one.says(refreshed)
	if err := etcd.Member(0).Pause(); err != nil {
		t.Fatal(err)
	}
	one.says("acting without it, as on-etcd-loss says")
	one.says(refreshed)
	if err := etcd.Member(0).Resume(); err != nil {
		t.Fatal(err)
	}
	one.says("etcd answers again")
	one.says(refreshed)
}

func TestAFencedMasterBesideAWipedEtcdWaitsForALease(t *testing.T) {
	for _, mode := range []string{"notify", "fifo"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.Start(t, 1, etcdtest.Options{})
			h := newFencedHost(t, "h1", c.Endpoints()[0], "")
			one := h.master(mode)
			one.says(refreshed)
			if err := c.Wipe("another"); err != nil {
				t.Fatal(err)
			}
			broke := one.says(brokenHistory)
			if took := one.says("became the owner").Sub(broke); took < 1900*time.Millisecond {
				t.Errorf("want it to wait for a lease of 2 s, it took %v", took)
			}
			one.says(refreshed)
		})
	}
}
