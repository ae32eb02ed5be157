package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/testnet"
	"berth/test/lab"
	"berth/vrrp"
)

// said waits until a service has logged a message after since, and returns the
// line.
func (f *field) said(h *lab.Host, since time.Time, message string) testnet.Line {
	f.t.Helper()
	var found testnet.Line
	f.until(h.Name+" to say: "+message, func() bool {
		for _, log := range f.Logs() {
			if log.Name != h.Name+" berth" {
				continue
			}
			if line, ok := log.Find(since, contains(message)); ok {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

const (
	deafMessage  = "keepalived does not have the FIFO open"
	hearsMessage = "keepalived has the FIFO open again"
)

// cure returns the command that a line names.
func (f *field) cure(line string) string {
	f.t.Helper()
	m := regexp.MustCompile(`keepalived -t -f \S+ && kill -HUP \d+`).FindString(line)
	if m == "" {
		f.t.Fatalf("want a command as the cure, got %s", line)
	}
	return m
}

// selfTest runs the self-test on a host and returns its report.
func (f *field) selfTest(h *lab.Host) string {
	f.t.Helper()
	out, _ := h.Run(f.context(), lab.BerthPath, "--test", lab.BerthConf) // a failed check is in the report
	return out
}

// systemd-tmpfiles, or a runtime directory that is made again, removes the FIFO that
// keepalived has open.
func TestFIFOReplacedUnderKeepalivedIsToldAndTheMachineDecides(t *testing.T) {
	t.Parallel()
	f := newField(t)
	for i, h := range f.Hosts {
		f.configure(h, lab.FIFO, lab.Fast, instance4(150-50*i))
	}
	client := f.client(lab.IPv4a)
	k1 := f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.standby(f.host2)
	if report := f.selfTest(f.host2); !strings.Contains(report, lab.FIFOPath+" is open in keepalived and read by process") {
		t.Errorf("want the self-test to see the FIFO in order, got %s", report)
	}

	replaced := time.Now()
	f.must(f.host2.Do(func() error { return os.Remove(lab.FIFOPath) }))
	line := f.said(f.host2, replaced, deafMessage)
	if took := line.Time.Sub(replaced) - client[0].Stalled(replaced, line.Time); took > 2*time.Second+5*late {
		t.Errorf("want it told within 2s, and what a busy machine adds, got %v", took)
	}
	f.until("the status to say so", func() bool {
		return strings.Contains(f.status(f.host2, "VI_4").Deaf, "kill -HUP")
	})
	if report := f.selfTest(f.host2); !strings.Contains(report, "does not have "+lab.FIFOPath+" open") {
		t.Errorf("want the self-test to fail, got %s", report)
	}
	out, err := f.host2.Run(f.context(), lab.BerthPath, "status")
	f.must(err)
	if !strings.Contains(out, "deaf: keepalived does not have "+lab.FIFOPath+" open") {
		t.Errorf("want a note in berth status, got %s", out)
	}

	// The takeover still happens, and the demotion too.
	stopped := time.Now()
	f.must(k1.Stop(f.context()))
	f.served(f.host2, stopped, client...)
	if got := f.status(f.host2, "VI_4").Reason; !strings.Contains(got, "found without events") {
		t.Errorf("want it found without events, got %q", got)
	}
	back := time.Now()
	f.keepalived(f.host1)
	f.served(f.host1, back, client...)
	f.until("host2 to be BACKUP again", func() bool { return f.status(f.host2, "VI_4").State == vrrp.Backup })

	// The cure that was printed cures.
	cured := time.Now()
	out, err = f.host2.Run(f.context(), "/bin/sh", "-c", f.cure(line.Text))
	if err != nil {
		t.Fatalf("the cure: %v: %s", err, out)
	}
	f.said(f.host2, cured, hearsMessage)
	f.until("the status to say no more", func() bool { return f.status(f.host2, "VI_4").Deaf == "" })
	if report := f.selfTest(f.host2); !strings.Contains(report, lab.FIFOPath+" is open in keepalived and read by process") {
		t.Errorf("want the self-test to see the FIFO in order again, got %s", report)
	}
}

// keepalived was started before the directory of the FIFO was there.
func TestDirectoryOfTheFIFOMadeAfterKeepalived(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.must(f.host1.ConfigureBerth(lab.Fast))
	f.must(f.host1.ConfigureKeepalived(lab.FIFO, instance4(100)))
	f.must(f.host1.Do(func() error { return os.RemoveAll(filepath.Dir(lab.FIFOPath)) }))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.bound(f.host1, lab.IPv4a, time.Time{})
	begun := time.Now()
	_, err := f.host1.StartService(f.context(), "--verbose")
	f.must(err)
	f.served(f.host1, begun, client...)
	line := f.said(f.host1, begun, deafMessage)
	out, err := f.host1.Run(f.context(), "/bin/sh", "-c", f.cure(line.Text))
	if err != nil {
		t.Fatalf("the cure: %v: %s", err, out)
	}
	f.said(f.host1, begun, hearsMessage)
	f.stays(lab.IPv4a, f.host1, time.Second, client[0])
}

// A keepalived that is killed leaves its addresses and its pid file behind. These
// make an instance MASTER neither for a berth that starts nor for one that is deaf.
func TestAddressesLeftBehindByAKilledKeepalivedAreNotHeld(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(100))
	client := f.client(lab.IPv4a)
	f.keepalived(f.host1)
	f.served(f.host1, time.Now(), client...)
	f.must(f.host1.Do(func() error { return os.Remove(lab.FIFOPath) }))
	f.said(f.host1, time.Time{}, deafMessage)
	parent, child, err := f.host1.Keepalived()
	f.must(err)
	signal(t, f.host1, parent, unix.SIGSTOP)
	signal(t, f.host1, child, unix.SIGKILL)
	signal(t, f.host1, parent, unix.SIGKILL)
	f.until("the holding to end", func() bool { return f.status(f.host1, "VI_4").State == vrrp.Unknown })
	f.must(f.Assign(lab.IPv4a, f.host2))
	f.stays(lab.IPv4a, f.host2, 2500*time.Millisecond, client[0])
	f.restartBerth(f.host1)
	f.stays(lab.IPv4a, f.host2, 2500*time.Millisecond, client[0])
	if has, _ := f.host1.Has(lab.IPv4a); !has {
		t.Error("want an address left behind, or nothing is tested here")
	}
}

// net_namespace: keepalived has its addresses, and its pid file, elsewhere.
func TestMasterInTheNetworkNamespaceOfKeepalivedIsFoundAfterARestart(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.configure(f.host1, lab.FIFO, lab.Fast, instance4(100))
	conf, err := f.host1.ReadFile(lab.KeepalivedConf)
	f.must(err)
	f.must(f.host1.WriteFile(lab.KeepalivedConf, "net_namespace blue\n"+string(conf), 0o644))
	ip, err := testnet.Program("ip")
	f.must(err)
	for _, line := range []string{
		"netns add blue", "link add blue0 type veth peer name " + lab.Link + " netns blue", "link set blue0 up",
		"-n blue addr add 10.99.0.1/24 dev " + lab.Link, "-n blue link set " + lab.Link + " up",
	} {
		out, err := f.host1.Run(f.context(), ip, strings.Fields(line)...)
		if err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	// The name of the namespace is a file that no user can read.
	defer func() {
		if out, err := f.host1.Run(f.context(), ip, "netns", "del", "blue"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}()
	client := f.client(lab.IPv4b)
	f.keepalived(f.host1)
	f.until("the floating IP to be claimed", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	f.killBerth(f.host1)
	f.must(f.Assign(lab.IPv4a, f.host2))
	_, err = f.host1.StartService(f.context(), "--verbose")
	f.must(err)
	f.until("the floating IP to come back", func() bool { return f.Holder(lab.IPv4a) == f.host1 })
	f.until("the instance to be found bound", func() bool { return strings.Contains(f.status(f.host1, "VI_4").Reason, "found-bound") })
	// An address that goes from there is seen to go.
	_, child, err := f.host1.Keepalived()
	f.must(err)
	signal(t, f.host1, child, unix.SIGSTOP)
	out, err := f.host1.Run(f.context(), ip, "-n", "blue", "addr", "del", lab.IPv4a.String()+"/32", "dev", lab.Link)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.until("the address to be suspended", func() bool {
		for _, a := range f.status(f.host1, "VI_4").Addresses {
			if a.Suspended && strings.HasPrefix(a.Address, lab.IPv4a.String()) {
				return true
			}
		}
		return false
	})
	signal(t, f.host1, child, unix.SIGCONT)
	f.pass(100*time.Millisecond, client[0])
}
