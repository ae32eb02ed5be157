package e2e_test

import (
	"context"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
)

// bash runs lines on a node as they stand, and returns what they print.
func (c *segment) bash(n *testnet.Node, lines string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*waitLimit)
	defer cancel()
	out, err := n.Run(ctx, "/bin/bash", "-eu", "-o", "pipefail", "-c", lines)
	if err != nil {
		c.t.Fatalf("%s\n%v: %s", lines, err, out)
	}
	return out
}

// The commands of the documentation, as they stand, against a running agent.
func TestLinkDocumentedCommands(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "curl")
	f := newLinkField(t, etcdtest.Options{}, "link-1")
	h := f.hosts[0]
	blocks := elsewhere(documented(t, "LinK"), f.endpoint())
	f.etcdctl("put", "/link/hosts/link-1/vip-1", "of LinK")
	h.start("HOSTNAME=link-1")
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	lines := strings.SplitAfter(blocks[0], "\n")
	f.bash(h.Node, strings.Join(lines[:2], ""))
	f.owns(v4, h)
	f.owns(v6, h)
	out := f.bash(h.Node, strings.Join(lines[2:], ""))
	if !strings.Contains(out, `"id":"vip-10.0.0.1"`) || !strings.Contains(out, `"version":`) {
		t.Errorf("got %s", out)
	}
	f.owns(v4)
	f.owns(v6)
	if got := h.wants(http.StatusOK, http.MethodGet, "/ips", ""); strings.TrimSpace(got) != `{"ips":[]}` {
		t.Errorf("got %s", got)
	}
	f.bash(f.router, blocks[1])
	for line := range strings.Lines(f.etcdctl("get", "--prefix", "--keys-only", "/")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "/link/berth/") {
			t.Errorf("want the keys of LinK to be gone, got %s", line)
		}
	}
	if got := f.etcdctl("get", "--prefix", "--keys-only", "/link/berth/"); !strings.Contains(got, "/link/berth/") {
		t.Error("want the keys of berth to stay")
	}
}

// The lines for a development machine: interfaces, and three agents on one machine. A kernel
// without dummy interfaces runs those for veth alone.
func TestLinkDevelopmentLines(t *testing.T) {
	t.Parallel()
	testnet.Require(t, "curl")
	f := newLinkField(t, etcdtest.Options{}, "machine", "other")
	blocks := elsewhere(documented(t, "LinK"), f.endpoint())
	dummies, veths, agents := blocks[0], blocks[1], blocks[2]
	machine, other := f.hosts[0].Node, f.hosts[1].Node
	up := func(n *testnet.Node) {
		t.Helper()
		if out := f.bash(n, "ip -br link show up"); !strings.Contains(out, "eth10") || !strings.Contains(out, "eth11") || !strings.Contains(out, "eth12") {
			t.Errorf("want eth10, eth11 and eth12 to be up, got\n%s", out)
		}
	}
	f.bash(machine, veths)
	up(machine)
	if out, err := other.Run(t.Context(), "/bin/bash", "-c", "ip link add probe type dummy && ip link del probe"); err != nil {
		t.Logf("the lines for dummy interfaces do not run on this kernel: %v: %s", err, out)
	} else {
		lines := dummies
		if _, err := exec.LookPath("modprobe"); err != nil {
			_, lines, _ = strings.Cut(lines, "\n") // the kernel has them without it
		}
		f.bash(other, lines)
		up(other)
	}
	// etcd is on another node.
	agents = strings.ReplaceAll(agents, "http://127.0.0.1:2379", f.endpoint())
	out := f.bash(machine, agents)
	if n := strings.Count(out, `"id":"vip-10.0.0.1"`); n != 4 || !strings.Contains(out, `"status":"`) {
		t.Errorf("want three answers that the address was added, and a list, got\n%s", out)
	}
	f.owns(netip.MustParseAddr("10.0.0.1"))
}
