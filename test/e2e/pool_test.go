package e2e_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPool(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	one, two, three := s.hosts[0], s.hosts[1], s.hosts[2]
	s.list() // before the first member
	for _, n := range s.hosts {
		s.start(n, "")
	}
	s.becomes(waitLimit, threeWays...)
	s.settled()

	// A member that is killed is served by the others within a lease and the second in
	// which etcd notices.
	s.must(s.berth[three].Signal(unix.SIGKILL))
	s.becomes(waitLimit, "node1:5 node2:5")
	s.start(three, "")
	s.becomes(waitLimit, threeWays...)
	s.settled()

	// A restart within the lease moves nothing.
	before, since := s.moved(), time.Now()
	s.must(s.berth[two].Signal(unix.SIGKILL))
	<-s.berth[two].Done()
	s.start(two, "")
	s.adopts(two, since)
	since = time.Now()
	s.must(s.berth[one].Signal(unix.SIGHUP))
	s.adopts(one, since)
	s.settled()
	if n := s.moved() - before; n != 0 {
		t.Errorf("want that restarts move nothing, addresses were bound %d times", n)
	}

	// An unhealthy member, a drained one and one that stops give theirs up at once.
	s.run(one, "/usr/bin/rm", "/run/well")
	s.becomes(waitLimit, "node2:5 node3:5")
	s.must(one.WriteFile("/run/well", "", 0o600))
	s.becomes(waitLimit, threeWays...)
	s.settled()
	s.run(two, "/usr/bin/berth", "pool", "drain", "--config", swarmConf)
	s.becomes(waitLimit, "node1:5 node3:5")
	s.etcdctl("del", "/berth/pool/drained/node2")
	s.becomes(waitLimit, threeWays...)
	s.settled()
	s.must(s.berth[three].Signal(unix.SIGTERM))
	s.becomes(time.Second, "node1:5 node2:5")

	// The list is changed by etcdctl and by berth.
	s.etcdctl("del", "/berth/pool/ips/192.0.2.1")
	s.becomes(time.Second, "node1:4 node2:5", "node1:5 node2:4")
	s.run(one, "/usr/bin/berth", "pool", "add", "192.0.2.9", "192.0.2.10/24", "--config", swarmConf)
	s.becomes(time.Second, "node1:5 node2:6", "node1:6 node2:5")
	s.etcdctl("del", "--prefix", "/berth/pool/ips/")
	s.becomes(time.Second, "")
}

// A frozen member loses its addresses to the others by itself, and the list outlives an
// etcd that has lost it.
func TestPoolOfAFrozenMemberAndAnEtcdThatIsWiped(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	one := s.hosts[0]
	s.list()
	for _, n := range s.hosts {
		s.start(n, "")
	}
	s.becomes(waitLimit, threeWays...)
	s.settled()
	s.must(s.berth[one].Signal(unix.SIGSTOP))
	s.becomes(waitLimit, "node2:5 node3:5")
	s.must(s.berth[one].Signal(unix.SIGCONT))
	s.becomes(waitLimit, threeWays...)
	s.settled()

	s.must(s.etcd.Wipe("other"))
	s.says(one, "pool-list-lost")
	s.all()
	s.must(s.berth[one].Signal(unix.SIGKILL)) // what comes next knows the list from its file
	<-s.berth[one].Done()
	s.start(one, "")
	s.says(one, "pool-list-lost")
	s.all()
	s.list()
	s.says(one, "the list of the pool is in etcd again")
	s.becomes(waitLimit, threeWays...)
	s.settled()
	s.etcdctl("del", "--prefix", "/berth/pool/ips/")
	s.becomes(time.Second, "")
}

// With claim every healthy host that has lost etcd has all addresses, and each address has
// one owner again when etcd is back.
func TestPoolClaims(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	one, three := s.hosts[0], s.hosts[2]
	s.list()
	const claim = "election: {on-etcd-loss: claim}"
	for _, n := range s.hosts {
		s.start(n, claim)
	}
	s.becomes(waitLimit, threeWays...)
	s.settled()
	s.run(three, "/usr/bin/rm", "/run/well")
	s.becomes(waitLimit, "node1:5 node2:5")
	s.settled()
	s.mu.Lock()
	s.claims = true
	s.mu.Unlock()
	for _, m := range s.etcd.Members() {
		s.must(m.Pause())
	}
	s.becomes(2*waitLimit, "node1:10 node2:10") // the unhealthy host claims none
	s.must(s.berth[one].Signal(unix.SIGKILL))   // what comes next knows the list from its file
	<-s.berth[one].Done()
	s.becomes(waitLimit, "node2:10")
	s.start(one, claim)
	s.becomes(waitLimit, "node1:10 node2:10")
	for _, m := range s.etcd.Members() {
		s.must(m.Resume())
	}
	s.becomes(2*waitLimit, "node1:5 node2:5")
	s.settled()
	s.must(three.WriteFile("/run/well", "", 0o600))
	s.becomes(waitLimit, threeWays...)
	s.settled()
	s.mu.Lock()
	defer s.mu.Unlock()
	for a, hosts := range s.bound {
		if len(hosts) != 1 {
			t.Errorf("want one owner of %v, got %q", a, hosts)
		}
	}
}

// The lines of docs/pool.md for etcdctl and curl do what they say.
func TestPoolDocumentation(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	text, err := os.ReadFile("../../docs/pool.md")
	s.must(err)
	_, block, _ := strings.Cut(string(text), "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	s.must(s.hub.Install("/usr/bin/etcdctl", s.tool, 0o755))
	s.start(s.hosts[0], "")
	var lines []string
	steps := 0
	for line := range strings.Lines(strings.ReplaceAll(block, "http://127.0.0.1:2379", swarmEtcd)) {
		if strings.HasPrefix(line, "export ") {
			lines = append(lines, strings.TrimSpace(line))
			continue
		}
		steps++
		s.run(s.hub, "/bin/sh", "-c", strings.Join(append(slices.Clone(lines), line), "\n"))
		switch {
		case strings.Contains(line, "put /berth/pool/ips/192.0.2.10"):
			s.becomes(waitLimit, "node1:1")
		case strings.Contains(line, "put /berth/pool/ips/2001"):
			s.becomes(waitLimit, "node1:2")
		case strings.Contains(line, "del /berth/pool/ips"):
			s.becomes(waitLimit, "node1:1")
		case strings.Contains(line, "put /berth/pool/drained"):
			s.becomes(waitLimit, "")
		case strings.Contains(line, "del /berth/pool/drained"):
			s.becomes(waitLimit, "node1:1")
		case strings.Contains(line, "kv/put"):
			s.becomes(waitLimit, "node1:2")
		case strings.Contains(line, "kv/deleterange"):
			s.becomes(waitLimit, "node1:1")
		}
	}
	if steps != 8 {
		t.Errorf("want eight lines, got %d", steps)
	}
}
