package e2e_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
)

// Wrapper scripts as users of floaty have them.
const (
	dockerWrapper = `#!/bin/sh

exec /usr/bin/berth --json-log /etc/berth.yml "$@" \
  >>/proc/1/fd/1 2>>/proc/1/fd/2
`
	loggerWrapper = `#!/bin/sh

/usr/bin/berth /etc/berth.yml "$@" 2>&1 | \
  logger --tag berth-prod
`
)

// A configuration of floaty with all keys of its example, unchanged but for the values
// that name machines: servers by host name, the other provider's
// section beside, a lock in /var/run, an address with the length of its subnet.
const floatyConf = `lock-file-template: "/var/run/floaty.%%s.lock"

refresh-interval: 2m

back-off:
  max-elapsed-time: 30s

provider: cloudscale
cloudscale:
  endpoint: %s
  token: %s
  hostname-to-server-uuid:
    host1: %s
    host2: %s
    host3.example.net: 00000000-0000-4000-8000-000000000000

exoscale:
  key: EXOexample
  secret: example

managed-addresses:
  - 198.51.100.10/24
`

func TestFloatyConfigurationAndWrapperWorkUnchanged(t *testing.T) {
	t.Parallel()
	f := newField(t)
	client := f.client(lab.IPv4a)
	for i, h := range f.Hosts {
		f.must(h.Install("/usr/bin/floaty", berth, 0o755)) // the program under its former name
		f.must(h.WriteFile("/etc/keepalived/floaty-prod.yml",
			fmt.Sprintf(floatyConf, lab.Endpoint, lab.Token, f.host1.UUID, f.host2.UUID), 0o600))
		f.must(h.WriteFile(lab.NotifyPath,
			"#!/bin/sh\n\n/usr/bin/floaty /etc/keepalived/floaty-prod.yml \"$@\" 2>&1 | \\\n  logger --tag floaty-prod\n", 0o755))
		f.must(h.ConfigureKeepalived(lab.Notify, instance4(150-50*i)))
	}
	k1 := f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.standby(f.host2)
	stopped := time.Now()
	f.must(k1.Stop(f.context()))
	f.served(f.host2, stopped, client...)
}

// In a container the output of process 1 is the only log.
func TestDockerWrapperLogsToTheContainer(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.must(f.host1.WriteFile(lab.NotifyPath, dockerWrapper, 0o755))
	f.configure(f.host1, lab.Notify, lab.Fast, instance4(100))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.until("berth's JSON on the console", func() bool {
		_, ok := f.host1.Console.Find(time.Time{}, func(text string) bool {
			return strings.HasPrefix(text, "{") && strings.Contains(text, `"instance":"VI_4"`)
		})
		return ok
	})
}

// The reader of berth's log dies; the floating IP does not depend on it.
func TestDeadLoggerTakesNothingAlong(t *testing.T) {
	t.Parallel()
	for _, wrapper := range []struct{ name, text string }{{"of a user", loggerWrapper}, {"shipped", ""}} {
		t.Run(wrapper.name, func(t *testing.T) {
			t.Parallel()
			f := newField(t)
			if wrapper.text != "" {
				f.must(f.host1.WriteFile(lab.NotifyPath, wrapper.text, 0o755))
			}
			f.configure(f.host1, lab.Notify, lab.Fast, instance4(100))
			f.configure(f.host2, lab.Notify, lab.Fast, instance4(150))
			client := f.client(lab.IPv4a)
			f.keepalived(f.host1)
			f.served(f.host1, time.Now(), client...)

			// The shell that starts berth is not the one that starts its reader.
			f.until("a logger to kill", func() bool {
				tasks, err := f.host1.Tasks()
				f.must(err)
				killed := false
				for _, task := range tasks {
					if task.Name == "cat" { // the lab's logger
						signal(t, f.host1, task, unix.SIGKILL)
						killed = true
					}
				}
				return killed
			})
			// berth goes on after an event that makes it write to the broken pipe ...
			for range 2 {
				stolen := time.Now()
				f.must(f.Assign(lab.IPv4a, f.host2))
				f.until("the floating IP to come back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
				f.served(f.host1, stolen, client...)
			}
			// ... and still ends at BACKUP.
			f.keepalived(f.host2)
			demoted := f.unbound(f.host1, lab.IPv4a, time.Time{})
			f.served(f.host2, demoted, client...)
			f.pass(time.Second, client[0])
			f.silent(f.host1, demoted, client[0])
		})
	}
}

// needAnalyze returns the path of systemd-analyze. Without it the test is skipped, and fails
// where none may be.
func needAnalyze(t *testing.T) string {
	t.Helper()
	path, err := testnet.Program("systemd-analyze")
	switch {
	case err == nil:
	case os.Getenv(testnet.RequireEnv) == "1":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return path
}

// systemd-analyze accepts the unit file, but for the manual page that the file names: a
// package installs that. All tests of FIFO mode run the ExecStart line of the file.
func TestUnitFile(t *testing.T) {
	t.Parallel()
	analyze := needAnalyze(t)
	f := newField(t)
	f.must(f.host1.Install("/etc/systemd/system/berth.service", unitFile, 0o644))
	out, err := f.host1.Run(f.context(), analyze, "verify", "--man=no", "/etc/systemd/system/berth.service")
	if err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("want systemd-analyze to report nothing, got %v: %s", err, out)
	}
	for _, name := range []string{"berth-elect.service", "govip.service"} {
		f.must(f.host1.Install("/etc/systemd/system/"+name, "../../dist/"+name, 0o644))
		out, err = f.host1.Run(f.context(), analyze, "verify", "--man=no", "/etc/systemd/system/"+name)
		if err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("want systemd-analyze to report nothing about %s, got %v: %s", name, err, out)
		}
	}
	unit, err := lab.ReadUnit(unitFile)
	f.must(err)
	for key, want := range map[string]string{
		"Restart":    "always",
		"RestartSec": "100ms", // inside any lease, so that a crash moves nothing
		// keepalived's FIFO must be there before it, and stay when berth restarts.
		"Before":                   "keepalived.service",
		"RuntimeDirectoryPreserve": "yes",
	} {
		if got := unit[key]; got != want {
			t.Errorf("want %s=%s, got %q", key, want, got)
		}
	}
}

const unitFile = "../../dist/berth.service"

// berth takes over, waits as BACKUP and notices the death of keepalived with the
// capabilities that the unit leaves it, and with a file system that is read-only but
// for the run-time directory and the paths that the unit names.
func TestServiceInsideTheSandboxOfItsUnit(t *testing.T) {
	t.Parallel()
	f := newField(t)
	unit, err := lab.ReadUnit(unitFile)
	f.must(err)
	if unit["ProtectSystem"] != "strict" || unit["NoNewPrivileges"] != "yes" {
		t.Fatalf("want the sandbox that this test builds, got %v", unit)
	}
	var capabilities strings.Builder
	for _, c := range strings.Fields(unit["CapabilityBoundingSet"]) {
		capabilities.WriteString(",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_")))
	}
	f.must(f.host1.Install("/usr/bin/berth.real", berth, 0o755))
	f.must(f.host1.WriteFile(lab.BerthPath, fmt.Sprintf(`#!/bin/sh
exec unshare --mount /bin/sh -ec '
	for path in /run/%s %s; do mount --bind $path $path; done
	for path in / /etc /usr/bin /usr/lib /var /run /tmp; do mount -o remount,bind,ro $path; done
	if touch /etc/x /run/x /tmp/x 2>/dev/null; then echo "no sandbox"; exit 1; fi
	exec setpriv --no-new-privs --bounding-set -all%s /usr/bin/berth.real "$@"
' sh "$@"
`, unit["RuntimeDirectory"], strings.TrimPrefix(unit["ReadWritePaths"], "-"), capabilities.String()), 0o755))

	f.configure(f.host1, lab.FIFO, dense, equals(instance4(100)))
	f.configure(f.host2, lab.FIFO, dense, equals(instance4(100)))
	client := f.client(lab.IPv4a, lab.IPv4b)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.standby(f.host2)

	parent, child, err := f.host1.Keepalived()
	f.must(err)
	f.asksAgainAndAgain(f.host1, f.host2, 6)
	signal(t, f.host1, parent, unix.SIGSTOP)
	signal(t, f.host1, child, unix.SIGKILL)
	signal(t, f.host1, parent, unix.SIGKILL)
	killed := time.Now()
	f.pass(2*late, client[0])
	f.heal()
	f.served(f.host2, killed, client...)
	f.pass(500*time.Millisecond, client[0])
	f.silent(f.host1, killed, client[0])
	for _, log := range f.Logs() {
		for _, line := range log.Lines() {
			if log.Name == "host1 berth" && strings.Contains(line.Text, "read-only file system") {
				t.Errorf("want no write refused by the sandbox, got %s", line.Text)
			}
		}
	}
}
