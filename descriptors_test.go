package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Clients that connect to metrics.listen and send nothing, more of them than the
// service may have descriptors, take no descriptor that the lock or the claim needs.
func TestConnectionsToTheMetricsCostNoLockAndNoClaim(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := asBerth(t)
	for name, text := range map[string]string{
		"keepalived.conf": oneInstance,
		"berth.yml": fmt.Sprintf("provider: fake\nkeepalived-config: %[1]s/keepalived.conf\nlock-file-template: %[1]s/lock-%%s\n"+
			"run-directory: %[1]s/run\nkeepalived-pid-file: %[1]s/pid\nmetrics: {listen: %[2]q}\n", dir, address),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The soft limit is lower than the hard one, as for services by default.
	cmd := exec.Command("/bin/sh", "-c", "ulimit -Sn 24; ulimit -Hn 64; exec ./berth --fifo berth.yml fifo >out 2>log")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Signal(unix.SIGTERM)
		cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); t.Failed() || strings.Contains(string(log), "too many open files") {
			t.Errorf("log, %v:\n%s", err, log)
		}
	}()
	has := func(name, want string) {
		t.Helper()
		if p := await(func() string {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !strings.Contains(string(text), want) {
				return fmt.Sprintf("want %q in %s, got %q, %v", want, name, text, err)
			}
			return ""
		}); p != "" {
			t.Fatal(p)
		}
	}
	has("log", "metrics are served")
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "Max open files") && f[3] != "63" {
			t.Errorf("want the soft limit raised to that below the hard one, as Go does, got %s", line)
		}
	}
	for range 100 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	f, err := os.OpenFile(filepath.Join(dir, "fifo"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("INSTANCE \"VI_1\" MASTER 100\n"); err != nil {
		t.Fatal(err)
	}
	has("out", "REFRESH 192.0.2.1/24")
	if _, err := os.Stat(filepath.Join(dir, "lock-VI_1")); err != nil {
		t.Errorf("acting without the lock: %v", err)
	}
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || strings.Contains(string(log), "without the lock") {
		t.Errorf("%v:\n%s", err, log)
	}
}
