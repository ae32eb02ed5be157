package e2e_test

import (
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// columns returns the two columns of an example: the file of another program, and what it
// means in berth, which stands in its comments below a heading.
func columns(t *testing.T, text string) (theirs string, means any) {
	t.Helper()
	var left, right strings.Builder
	_, text, _ = strings.Cut(text, "\n")
	for line := range strings.Lines(text) {
		before, after, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "# ")
		left.WriteString(strings.TrimRight(before, " ") + "\n")
		right.WriteString(after + "\n")
	}
	if err := yaml.Unmarshal([]byte(right.String()), &means); err != nil {
		t.Fatalf("%v in\n%s", err, right.String())
	}
	return left.String(), means
}

// meansAs fails the test unless a printed configuration has the meaning of an example.
func meansAs(t *testing.T, want any, printed string) {
	t.Helper()
	var got any
	if err := yaml.Unmarshal([]byte(printed), &got); err != nil {
		t.Fatalf("%v in\n%s", err, printed)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the example and what berth prints differ (-example +printed):\n%s", diff)
	}
}

// As yaim: it has the address that its list at another place names, if a file says that its
// turn has come, and removes it within a round.
const yaimScript = `#!/bin/sh
while :; do
	if [ -e /run/turn ] && curl -sf -o /dev/null http://10.78.0.1:4001/v2/keys/service/yaim/ips/123.0.0.1; then
		ip address add 123.0.0.1/32 dev eth0 2>/dev/null
	else
		ip address del 123.0.0.1/32 dev eth0 2>/dev/null
	fi
	sleep 0.5
done
`

func TestYaimRollsOver(t *testing.T) {
	t.Parallel()
	m := newMigration(t, "yaim", "123.0.0.1", "node1", "node2")
	var removed atomic.Bool
	m.served(m.router, net.JoinHostPort(segmentEtcd, "4001"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // version 2 of etcd's API
		switch {
		case !strings.HasPrefix(r.URL.Path, "/v2/keys/service/yaim/ips/123.0.0.1"), removed.Load():
			http.NotFound(w, r)
		case r.Method == http.MethodDelete:
			removed.Store(true)
		}
	}))
	file, means := columns(t, configured(t, "yaim", "yaml")[0])
	blocks := documented(t, "yaim")
	for i, b := range blocks {
		blocks[i] = strings.ReplaceAll(b, "http://192.168.0.34:2379/v2/", "http://10.78.0.1:4001/v2/")
	}
	elsewhere(blocks, m.endpoint())
	for _, n := range m.hosts {
		m.served(n, "127.0.0.1:8080", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		m.must(n.WriteFile("/usr/bin/yaim", yaimScript, 0o755))
		m.must(n.WriteFile("/etc/yaim.yml", file, 0o600))
		m.bash(n, "systemctl enable --now yaim")
		meansAs(t, means, m.bash(n, blocks[0]))
		m.must(n.WriteFile("/etc/yaim.yml", elsewhere([]string{file}, m.endpoint())[0], 0o600))
	}
	m.must(m.hosts[0].WriteFile("/run/turn", "", 0o600))
	m.owner(m.hosts[0])
	for _, n := range m.hosts {
		m.bash(n, blocks[1])
	}
	m.bash(m.hosts[0], blocks[2])
	m.owned()
	m.moved(rollOver)
	for _, n := range m.hosts {
		m.bash(n, blocks[3])
		m.bash(n, blocks[4])
	}
	m.owned()
	m.moved(rollOver)
	for _, n := range m.hosts {
		m.until("berth elect to run on "+n.Name, func() bool { return m.bash(n, "pgrep -f '^/usr/bin/berth elect' || true") != "" })
	}
}

// owned waits until one host has the address.
func (m *migration) owned() {
	m.t.Helper()
	m.until("a host to have the address", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.owners[m.address]) == 1
	})
}

// As LinK: it has the address if a file says that it is the owner, answers at once, and
// removes the address later.
const linkScript = `#!/usr/bin/python3
import http.server, os, subprocess, threading

def address(verb):
    subprocess.run(["ip", "address", verb, "10.0.0.1/32", "dev", "eth0"], stderr=subprocess.DEVNULL)

owner = os.path.exists("/run/owner")
if owner:
    address("add")

class LinK(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ips":[{"id":"vip-1","ip":"10.0.0.1/32","status":"%s"}]}' % (b"ACTIVATED" if owner else b"STANDBY"))

    def do_DELETE(self):
        self.send_response(204 if self.path == "/ips/vip-1" else 500)
        self.end_headers()
        threading.Timer(0.5, address, ["del"]).start()

http.server.HTTPServer(("127.0.0.1", 1313), LinK).serve_forever()
`

func TestLinkRollsOver(t *testing.T) {
	t.Parallel()
	m := newMigration(t, "link", "10.0.0.1", "lb1", "lb2")
	file, means := columns(t, configured(t, "LinK", "ini")[0])
	blocks := documented(t, "LinK")
	m.must(m.hosts[0].WriteFile("/run/owner", "", 0o600))
	for _, n := range m.hosts {
		m.must(n.WriteFile("/usr/bin/link", linkScript, 0o755))
		m.must(n.WriteFile("/etc/default/link", file, 0o600))
		m.bash(n, "systemctl enable --now link; curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:1313/ips")
		if n == m.hosts[0] {
			meansAs(t, means, m.bash(n, blocks[0]))
		}
		m.must(n.WriteFile("/etc/default/link", strings.ReplaceAll(elsewhere([]string{file}, m.endpoint())[0], "=lb1", "="+n.Name), 0o600))
		m.bash(n, blocks[1])
	}
	m.owner(m.hosts[0])
	m.bash(m.hosts[1], blocks[2])
	m.bash(m.hosts[0], blocks[3])
	m.bash(m.hosts[1], blocks[4])
	m.owner(m.hosts[0])
	m.moved(rollOver)
	for _, n := range m.hosts {
		m.bash(n, blocks[5])
		m.bash(n, "curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:1313/ips | grep '10.0.0.1'")
	}
	m.owner(m.hosts[0])
	m.moved(rollOver)
}
