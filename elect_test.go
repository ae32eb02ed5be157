package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/etcdtest"

	"golang.org/x/sys/unix"
)

// newElectingHost makes a host that takes part in an election for a floating IP, with
// no interface to bind it to.
func newElectingHost(t *testing.T, name, etcd string) *fencedHost {
	t.Helper()
	h := newFencedHost(t, name, etcd, "")
	h.configure("", etcd, "")
	return h
}

const electedInstance = "odd/name ü"

// configure writes a configuration with more keys in the sections etcd and
// election.
func (h *fencedHost) configure(etcdExtra, etcd, extra string) {
	h.t.Helper()
	text := fmt.Sprintf("provider: fake\nrun-directory: %s/run\nrefresh-interval: 100ms\n"+
		"etcd: {endpoints: [%q], member: %s, lease-ttl: 5s%s}\nelection: {instances: [{name: %q, addresses: [192.0.2.1/24]}]%s}\n",
		h.dir, etcd, h.name, etcdExtra, electedInstance, extra)
	if err := os.WriteFile(filepath.Join(h.dir, "berth.yml"), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (b *fencedBerth) signal(s unix.Signal) {
	b.host.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.host.t.Fatal(err)
	}
}

func TestElectMovesNothingWhenItIsReplacedAndAllWhenItLeaves(t *testing.T) {
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h1, h2 := newElectingHost(t, "h1", etcd), newElectingHost(t, "h2", etcd)
	one := h1.start("elect", "berth.yml")
	one.says(refreshed)
	two := h2.start("elect", "berth.yml")
	for _, how := range []unix.Signal{unix.SIGHUP, unix.SIGUSR2, unix.SIGKILL} {
		one.signal(how)
		if how != unix.SIGHUP {
			_ = one.cmd.Wait()
			one = h1.start("elect", "berth.yml")
		}
		one.says("adopted the lease of the process before this one")
		one.says(refreshed)
	}
	one.says(refreshed)
	one.says(refreshed) // time enough for a refresh of the other host
	two.hasNotSaid(refreshed)
	one.signal(unix.SIGTERM)
	left := time.Now()
	if took := two.says(refreshed).Sub(left); took > time.Second {
		t.Errorf("want the other host to act at once, it took %v", took)
	}
	if err := one.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestElectRefusesToBeReplacedByAProcessThatWouldNotFindItsLease(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	etcd := c.Endpoints()[0]
	h := newElectingHost(t, "h1", etcd)
	h.configure("", etcd, ", on-etcd-loss: keep")
	one := h.start("elect", "berth.yml")
	one.says(refreshed)
	h.configure(", prefix: /other", etcd, ", on-etcd-loss: keep")
	one.signal(unix.SIGHUP)
	one.says("change with a stop and a start of berth only")
	h.configure("", etcd, ", on-etcd-loss: keep")
	if err := c.Member(0).Kill(); err != nil {
		t.Fatal(err)
	}
	one.says("going on without the lease")
	one.signal(unix.SIGHUP)
	one.says("the next process could not take over what this process owns")
	one.signal(unix.SIGUSR2)
	one.says("not upgrading")
	one.says(refreshed)
	if err := c.Member(0).Restart(); err != nil {
		t.Fatal(err)
	}
	one.says("acknowledges the lease again")
	one.signal(unix.SIGHUP)
	one.says("adopted the lease", "cannot get a lease")
}

func TestAStartThatFailsLeavesTheLeaseToTheNext(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h := newElectingHost(t, "h1", etcd)
	one := h.start("elect", "berth.yml")
	one.says(refreshed)
	one.signal(unix.SIGKILL)
	_ = one.cmd.Wait()
	h.configure(", username: x, password-file: /nonexistent", etcd, "")
	bad := h.start("elect", "berth.yml")
	bad.says("etcd.password")
	_ = bad.cmd.Wait()
	h.configure("", etcd, "")
	h.start("elect", "berth.yml").says("adopted the lease")
}

// A second berth on a host is another member, with another lease, or it is refused.
func TestTwoBerthsOnOneHostNeverAdoptEachOthersLease(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h := newElectingHost(t, "second", etcd)
	first, second := filepath.Join(h.dir, "berth.yml"), filepath.Join(h.dir, "second.yml")
	if err := os.Rename(first, second); err != nil {
		t.Fatal(err)
	}
	h.name = "first"
	h.configure("", etcd, "")
	two := h.start("elect", second)
	two.says(refreshed)
	one := h.start("elect", first)
	h.start("takeover", electedInstance, "--config", first).says("first is the owner")
	one.says(refreshed)
	for _, b := range []*fencedBerth{one, two} {
		b.signal(unix.SIGKILL)
		_ = b.cmd.Wait()
	}
	// Only one of the leases that were left makes an owner.
	two = h.start("elect", second)
	two.says("adopted the lease of the process before this one", refreshed)
	one = h.start("elect", first)
	one.says("adopted the lease of the process before this one")
	one.says(refreshed)

	third := h.start("elect", first)
	third.says(`another berth on this host is member "first" below /berth/`, refreshed)
	if err := third.cmd.Wait(); err == nil {
		t.Error("want a second process of one member to fail")
	}
	one.says(refreshed)
	two.hasNotSaid(refreshed)
}

func TestElectedOwnerPointsFloatingIPs(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h1, h2 := newElectingHost(t, "h1", etcd), newElectingHost(t, "h2", etcd)
	one := h1.start("elect", "berth.yml")
	one.says(refreshed)
	two := h2.start("elect", "berth.yml")
	two.says("taking part", refreshed)

	// A reload executes berth again in the same process and moves nothing; a reload
	// with an invalid file changes nothing at all.
	config := filepath.Join(h1.dir, "berth.yml")
	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, says string }{
		{"nonsense: 1\n", "the configuration was not read again"},
		{strings.Replace(string(good), "192.0.2.1/24", "192.0.2.2/24", 1), "REFRESH 192.0.2.2/24"},
		{string(good), refreshed},
	} {
		if err := os.WriteFile(config, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		one.signal(unix.SIGHUP)
		one.says(step.says)
	}
	two.hasNotSaid("REFRESH")

	for _, step := range []struct {
		host    *fencedHost
		command string
		owner   *fencedBerth
		says    string
	}{
		{h2, "takeover", two, electedInstance + ": h2 is the owner"},
		{h2, "release", one, electedInstance + ": handed over by h2"},
		{h1, "takeover", one, electedInstance + ": h1 is the owner"}, // already
	} {
		step.host.start(step.command, electedInstance, "--config", "berth.yml").says(step.says)
		step.owner.says(refreshed)
	}
	one.signal(unix.SIGTERM)
	two.says(refreshed)
}

// brokenHistory begins the message about an etcd without the history that was seen
// before.
const brokenHistory = "etcd was restored from a backup"

// untilRecorded waits until the host has a record of etcd's history.
func (h *fencedHost) untilRecorded() {
	h.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(waitLimit); ; <-tick.C {
		found, err := filepath.Glob(filepath.Join(h.dir, "run", "etcd-*.history"))
		switch {
		case err != nil:
			h.t.Fatal(err)
		case len(found) == 1:
			return
		case time.Now().After(end):
			h.t.Fatal("want a record of etcd's history in the run directory")
		}
	}
}

func TestARestartedBerthBesideARestoredEtcdAdoptsNothingAndWaits(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1, etcdtest.Options{})
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	h := newElectingHost(t, "h1", c.Endpoints()[0])
	one := h.start("elect", "berth.yml")
	one.says(refreshed)
	h.untilRecorded()
	one.signal(unix.SIGKILL)
	_ = one.cmd.Wait()
	if err := c.Restore(); err != nil {
		t.Fatal(err)
	}
	// A berth that is killed while it waits leaves the wait to its successor.
	one = h.start("elect", "berth.yml")
	one.says(brokenHistory, "adopted the lease", "became the owner")
	one.signal(unix.SIGKILL)
	_ = one.cmd.Wait()
	one = h.start("elect", "berth.yml")
	broke := one.says(brokenHistory, "adopted the lease", "became the owner")
	if took := one.says("became the owner").Sub(broke); took < 4900*time.Millisecond {
		t.Errorf("want it to wait for a lease, it took %v", took)
	}
}

func TestReleaseOnAHostThatIsNotTheOwnerFails(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h1, h2 := newElectingHost(t, "h1", etcd), newElectingHost(t, "h2", etcd)
	h1.start("elect", "berth.yml").says(refreshed)
	h2.start("elect", "berth.yml").says("taking part", refreshed)
	release := h2.start("release", electedInstance, "--config", "berth.yml")
	release.says("h1 is the owner of "+electedInstance+", not h2 of this host", "handed over")
	if err := release.cmd.Wait(); err == nil || release.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("want exit status 1, got %v", err)
	}
}

// Cloned machines that were not renamed are two hosts called vm.
func TestATakeoverByTheSecondOfTwoHostsOfOneNameMovesTheInstance(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t, 1, etcdtest.Options{}).Endpoints()[0]
	h1, h2 := newElectingHost(t, "vm", etcd), newElectingHost(t, "vm", etcd)
	one := h1.start("elect", "berth.yml")
	one.says(refreshed)
	two := h2.start("elect", "berth.yml")
	const doubled = "another host takes part in the election under the name of this one"
	two.says(doubled, refreshed)
	one.says(doubled)
	h1.start("show", "berth.yml").says("vm (two hosts have this name)")
	for end := time.Now().Add(waitLimit); ; { // the status is written soon after the line of the log
		table, err := exec.Command(filepath.Join(h2.dir, "berth"), "status", "--run-directory", filepath.Join(h2.dir, "run")).CombinedOutput()
		if strings.Contains(string(table), "another host takes part under the name of this one") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("want it in the status, got %s, %v", table, err)
		}
	}
	h2.start("takeover", electedInstance, "--config", "berth.yml").says("vm is the owner")
	two.says(refreshed)
	one.says("handing over as asked")
}
