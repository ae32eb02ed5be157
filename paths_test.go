package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namedFile is a key that names a file, in a configuration where %s is its path.
type namedFile struct {
	key    string
	config string
	// unchecked is set for a file that `berth config check` does not read.
	unchecked bool
}

const webhookURL = "provider: webhook\nwebhook: {url: 'http://127.0.0.1:9/', "

var namedFiles = []namedFile{
	{"cloudscale.token-file", "provider: cloudscale\ncloudscale: {token-file: %s, server-uuid: " + lb1 + "}\n", false},
	{"cloudscale.ca-file", "provider: cloudscale\ncloudscale: {ca-file: %s, token: t, server-uuid: " + lb1 + "}\n", false},
	{"hetzner.token-file", "provider: hetzner\nhetzner: {token-file: %s}\n", false},
	{"hetzner.ca-file", "provider: hetzner\nhetzner: {ca-file: %s, token: t}\n", false},
	{"exoscale.key-file", "provider: exoscale\nexoscale: {key-file: %s, secret: s, zone: ch-gva-2}\n", false},
	{"exoscale.secret-file", "provider: exoscale\nexoscale: {key: EXOx, secret-file: %s, zone: ch-gva-2}\n", false},
	{"exoscale.ca-file", "provider: exoscale\nexoscale: {key: EXOx, secret: s, ca-file: %s, zone: ch-gva-2}\n", false},
	{"webhook.secret-file", webhookURL + "secret-file: %s}\n", false},
	{"webhook.ca-file", webhookURL + "secret: s, ca-file: %s}\n", false},
	{"etcd.password-file", fencedBy("username: u, password-file: %s"), false},
	{"etcd.ca-file", fencedBy("ca-file: %s"), false},
	{"etcd.cert-file", fencedBy("cert-file: %[1]s, key-file: %[1]s"), false},
	{"keepalived-config", "provider: none\nkeepalived-config: %s\n", true},
	{"keepalived-pid-file", "provider: none\nkeepalived-pid-file: %s\n", true},
}

func fencedBy(keys string) string {
	return "provider: none\nfencing: {enabled: true}\netcd: {endpoints: ['https://127.0.0.1:9'], " + keys + "}\n"
}

// traps makes what a path can lead to by mistake, or because another user made it.
func traps(t *testing.T, dir string) map[string]string {
	t.Helper()
	in := func(name string) string { return filepath.Join(dir, name) }
	sparse := in("sparse")
	err := errors.Join(unix.Mkfifo(in("fifo"), 0o600), os.Mkdir(in("directory"), 0o700), os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"FIFO": in("fifo"), "endless device": "/dev/zero", "directory": in("directory"), "1 TiB of holes": sparse, "missing": in("missing")}
}

// most is how much memory berth may take in KiB: far more than it needs, under the
// race detector too, and far less than what is at the end of those paths.
const most = 1 << 20

// berthSays runs berth with a bound on its time, and returns its exit status and all
// its output.
func berthSays(t *testing.T, dir string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "berth"), args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("berth %s hangs; it said:\n%s", strings.Join(args, " "), &out)
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	if used := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; used > most {
		t.Errorf("berth %s took %d KiB of memory", strings.Join(args, " "), used)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// around adds the keys that keep berth's files in the directory of the test.
func around(dir, config string) string {
	for key, value := range map[string]string{
		"keepalived-config": "keepalived.conf", "keepalived-pid-file": "pid", "run-directory": "run", "lock-file-template": "lock-%s", "keepalived-version": "2.2.7",
	} {
		if !strings.Contains(config, "\n"+key+":") {
			config += key + ": " + value + "\n"
		}
	}
	return config
}

func TestPathOfAConfigurationThatLeadsToNoFileHangsNothingAndIsNamed(t *testing.T) {
	dir := asBerth(t)
	kinds := traps(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "keepalived.conf"), []byte(oneInstance), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range namedFiles {
		for kind, path := range kinds {
			t.Run(file.key+"/"+kind, func(t *testing.T) {
				t.Parallel()
				name := regexp.MustCompile(`\W`).ReplaceAllString(file.key+kind, "-") + ".yml"
				if err := os.WriteFile(filepath.Join(dir, name), []byte(around(dir, fmt.Sprintf(file.config, path))), 0o600); err != nil {
					t.Fatal(err)
				}
				status, said := berthSays(t, dir, "config", "check", name)
				_, key, _ := strings.Cut(file.key, ".")
				switch {
				case file.unchecked && status != 0:
					t.Errorf("config check exits with %d:\n%s", status, said)
				case !file.unchecked && (status != 2 || !strings.Contains(said, key) || !strings.Contains(said, path)):
					t.Errorf("config check exits with %d; want 2, and a message that names %s and %s:\n%s", status, key, path, said)
				}
				status, said = berthSays(t, dir, "--test", name)
				if status == 0 && !file.unchecked || !strings.Contains(said, path) { // for keepalived's own files --test only warns
					t.Errorf("--test exits with %d; want %s to be named:\n%s", status, path, said)
				}
				status, said = berthSays(t, dir, "show", name)
				if file.key != "keepalived-pid-file" && (status == 0 || !strings.Contains(said, path)) {
					t.Errorf("show exits with %d; want a failure that names %s:\n%s", status, path, said)
				}
			})
		}
	}
	for kind, path := range kinds {
		t.Run("CONFIG/"+kind, func(t *testing.T) {
			t.Parallel()
			for _, args := range [][]string{{"config", "check", path}, {"--test", path}, {"show", path}, {path, "INSTANCE", "VI_1", "MASTER", "100"}, {"elect", path}, {"--fifo", path, "events"}} {
				if status, said := berthSays(t, dir, args...); status != 2 || !strings.Contains(said, path) {
					t.Errorf("berth %s exits with %d, want 2 and a message that names the file:\n%s", strings.Join(args, " "), status, said)
				}
			}
		})
	}
}

func TestConfigurationIsReadFromAPipe(t *testing.T) {
	dir := asBerth(t)
	cmd := exec.Command("sh", "-c", "(sleep 0.2; echo provider: fake) | ./berth config check /dev/stdin")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "/dev/stdin: ok") {
		t.Errorf("got %v: %s", err, out)
	}
}

// A service goes on as before whatever its files have become, and is ended by
// SIGTERM.
func TestServiceReadsNoPathThatLeadsToNoFileAtReload(t *testing.T) {
	dir := asBerth(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	kinds := traps(t, dir)
	put := func(config string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(in("new.yml"), []byte(around(dir, config)), 0o600), os.Rename(in("new.yml"), in("berth.yml"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(in("keepalived.conf"), []byte(oneInstance), 0o600), unix.Mkfifo(in("events"), 0o600)); err != nil {
		t.Fatal(err)
	}
	const good = "provider: fake\n"
	put(good)
	log, err := os.Create(in("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(in("berth"), "--fifo", "berth.yml", "events")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill() // if the test failed before
		<-done
	}()
	said := func() string {
		text, _ := os.ReadFile(in("log"))
		return string(text)
	}
	until := func(text string, n int) {
		t.Helper()
		if p := await(func() string {
			if got := strings.Count(said(), text); got != n {
				return fmt.Sprintf("%q %d times, want %d:\n%s", text, got, n, said())
			}
			return ""
		}); p != "" {
			t.Fatal(p)
		}
	}
	until("reading keepalived", 1)
	const refused, read = "the configuration was not read again", "the configuration was read again"
	refusals, readings := 0, 0
	hangUp := func() {
		t.Helper()
		if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range kinds {
		for _, file := range namedFiles {
			if strings.HasPrefix(file.key, "etcd.") {
				continue // it needs a restart
			}
			put(fmt.Sprintf(file.config, path))
			hangUp()
			if file.unchecked {
				readings++
				until(read, readings)
			} else {
				refusals++
				until(refused, refusals)
			}
		}
		if err := errors.Join(os.Remove(in("berth.yml")), os.Symlink(path, in("berth.yml"))); err != nil {
			t.Fatal(err)
		}
		hangUp()
		refusals++
		until(refused, refusals)
		if err := os.Remove(in("berth.yml")); err != nil {
			t.Fatal(err)
		}
	}
	put(good)
	hangUp()
	until(read, readings+1)
	events, err := os.OpenFile(in("events"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	if _, err := events.WriteString("INSTANCE \"VI_1\" MASTER 100\n"); err != nil {
		t.Fatal(err)
	}
	until("REFRESH 192.0.2.1/24", 1)
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		done <- err
	case <-time.After(waitLimit):
		t.Fatal("SIGTERM does not end it")
	}
	if used := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; used > most {
		t.Errorf("the service took %d KiB of memory", used)
	}
}
