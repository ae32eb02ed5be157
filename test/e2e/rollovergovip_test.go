package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"berth/internal/testnet"
)

// As govip: a candidate of etcd's own election recipe, here by etcdctl, which removes the
// address and then resigns at SIGTERM. Its lease lasts 60 s, as govip's.
const govipProgram = `#!/bin/sh
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=%s
elected=/run/elected
: >$elected
etcdctl elect /govip/ "$(hostname)" >$elected &
elect=$!
trap 'ip address del 192.0.2.254/32 dev eth0 2>/dev/null; kill -INT $elect; wait $elect; exit 0' TERM
until [ -s $elected ]; do sleep 0.02; done
ip address add 192.0.2.254/32 dev eth0
while :; do sleep 0.02; done
`

func TestGovipRollsOver(t *testing.T) {
	t.Parallel()
	m := newMigration(t, "govip", "192.0.2.254", "lb1", "lb2", "lb3")
	units := configured(t, "govip", "ini")
	unit, err := os.ReadFile("../../dist/govip.service")
	m.must(err)
	// The lab has neither the certificates nor the endpoint of the document, and three names.
	flags := func(n *testnet.Node, line string) string {
		return strings.NewReplacer("https://192.0.2.1:2379", m.endpoint(), "/etc/govip/ca.crt", "''", "/etc/govip/server.crt", "''", "/etc/govip/server.key", "''", "-member lb1", "-member "+n.Name).Replace(line)
	}
	queued := func(n int) {
		t.Helper()
		m.until(fmt.Sprintf("%d candidates", n), func() bool {
			return len(strings.Fields(m.etcdctl("get", "--prefix", "--keys-only", "/govip//"))) == n
		})
	}
	for i, n := range m.hosts {
		m.must(errors.Join(n.WriteFile("/usr/bin/govip", fmt.Sprintf(govipProgram, m.endpoint()), 0o755),
			n.WriteFile("/etc/systemd/system/govip.service", "[Service]\n"+flags(n, units[0]), 0o644),
			n.WriteFile("/etc/systemd/system/berth-govip.service", string(unit)+flags(n, units[1]), 0o644)))
		m.bash(n, "systemctl enable --now govip")
		queued(i + 1)
	}
	m.owner(m.hosts[0])
	blocks := documented(t, "govip")
	// One host without the address, and the one that has it: a govip comes after it.
	m.bash(m.hosts[1], blocks[0])
	queued(3)
	m.owner(m.hosts[0])
	m.bash(m.hosts[0], blocks[0])
	m.owner(m.hosts[2])
	queued(3)
	m.moved(rollOver)
	// The last govip: berth comes after it.
	m.bash(m.hosts[2], blocks[0])
	m.owner(m.hosts[1])
	m.moved(rollOver)
	queued(3)
	// berth elect runs with the file that is printed, in the same election.
	n := m.hosts[1]
	line := flags(n, units[1])
	_, line, _ = strings.Cut(line, "ExecStart=")
	m.bash(n, strings.TrimSpace(line)+" -print-config >/etc/berth.yml\nsystemctl disable --now berth-govip\nsystemctl enable --now berth-elect")
	m.owner(m.hosts[0])
	queued(3)
	if out := m.bash(n, "berth cluster"); !strings.Contains(out, "192.0.2.254") || !strings.Contains(out, "lb3") {
		t.Errorf("want the cluster, got %s", out)
	}
	m.moved(rollOver)
}
