package e2e_test

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/test/lab"
)

// govipLease is berth's, which berth govip has.
const govipLease = 6 * time.Second

// The documented use of govip, with an etcd of three members and client certificates, and
// what its documentation promises and it did not keep. The subtests follow each other: three
// hosts that run between two of them.
func TestGovipPromises(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command(built, "-version").Output(); err != nil || string(out) != "1.0.0\n" {
		t.Errorf("want the version 1.0.0, got %q, %v", out, err)
	}
	p := newPlane(t, "lb1", "lb2", "lb3")
	vip := netip.MustParseAddr("192.0.2.254")
	// A binary that was built as govip, a link with that name, and the command.
	p.must(p.hosts[0].Install("/usr/bin/govip", built, 0o755))
	p.called(p.hosts[1].Node, "/usr/bin/govip")
	programs := []string{"govip", "govip", "berth govip"}
	line := map[*planeHost]string{}
	for i, h := range p.hosts {
		h.certificates("/etc/govip/ca.crt", "/etc/govip/server.crt", "/etc/govip/server.key")
		line[h] = fmt.Sprintf("env -C /etc/govip PATH=/usr/bin:/bin %s -etcd %s -cacert ca.crt -cert server.crt -key server.key -member %s -name /govip/ -vif %s -vip %v/32",
			programs[i], p.endpoint(), h.Name, lab.Link, vip)
	}
	step := p.steps(t)
	var owner *planeHost

	step("one of the govips places the VIP on one of the nodes", func(t *testing.T) {
		for _, h := range p.hosts {
			h.supervise(line[h])
		}
		owner = p.owner(vip, p.hosts...)
		if got := p.length(vip); got != 32 {
			t.Errorf("want the length of -vip, got /%d", got)
		}
		p.until("three candidates at NAME/LEASE", func() bool {
			keys := strings.Fields(p.etcdctl("get", "--prefix", "--keys-only", "/govip//"))
			return len(keys) == 3
		})
	})
	step("a program that dies is started again within its lease, and nothing moves", func(t *testing.T) {
		killed := time.Now()
		owner.signal(unix.SIGKILL)
		owner.ended(137, killed)
		owner.says("adopted", killed)
		if p.backSince(vip, killed) {
			t.Error("want the address to stay where it is")
		}
	})
	step("the owner dies", func(*testing.T) {
		dead, killed := owner, time.Now()
		dead.retire(unix.SIGKILL)
		owner = p.owner(vip, p.others(dead)...)
		p.within(govipLease+2*time.Second, killed, "taking over")
		dead.supervise(line[dead])
		dead.says("started", time.Time{})
	})
	step("SIGTERM releases the VIP at once, with exit status 0", func(*testing.T) {
		ended := time.Now()
		left := owner
		left.signal(unix.SIGTERM)
		owner = p.owner(vip, p.others(left)...)
		p.within(5*time.Second, ended, "handing over") // and not when its lease ends
		left.ended(0, ended)
	})
	step("govip will stop if it can't reach etcd, also at a start, and no server has the VIP", func(t *testing.T) {
		lost := p.loseMajority()
		starts := p.others(owner)[0]
		starts.signal(unix.SIGKILL)
		p.drops(vip, govipLease, lost)
		for _, h := range p.hosts { // what ends by itself on the host of the kill has started without etcd
			h.ended(1, lost)
			h.says("etcd has acknowledged no lease", lost)
		}
	})
	step("a start without etcd, and without a lease on record, removes a VIP that was left over", func(*testing.T) {
		h := p.others(owner)[1]
		h.retire(unix.SIGKILL)
		p.must(h.AddAddress(lab.Link, netip.PrefixFrom(vip, 32)))
		p.owner(vip, h)
		began := time.Now()
		h.supervise(line[h])
		p.none([]netip.Addr{vip})
		p.within(5*time.Second, began, "removing the address") // and not when it ends
	})
	step("etcd comes back", func(*testing.T) {
		p.restore()
		back := time.Now()
		owner = p.owner(vip, p.hosts...)
		p.within(govipLease+5*time.Second, back, "coming back")
	})
	step("an interface that does not exist, and a wrong option", func(t *testing.T) {
		for args, want := range map[string]int{"-vif nowhere0": 1, "-vips x": 2} {
			process, err := p.hosts[0].Start("wrong", "/bin/bash", "-c", strings.Replace(line[p.hosts[0]], "-vif "+lab.Link, "-member wrong "+args, 1))
			p.must(err)
			<-process.Done()
			if got := process.ExitCode(); got != want {
				t.Errorf("%s: want exit status %d, got %d: %s", args, want, got, process.Log)
			}
		}
	})
}
