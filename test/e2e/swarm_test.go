package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// swarm is three hosts with a pool, on one network with an etcd.
type swarm struct {
	testnet.Rig
	t     *testing.T
	hub   *testnet.Node // the network, with etcd
	hosts []*testnet.Node
	berth map[*testnet.Node]*testnet.Process
	etcd  *etcdtest.Cluster
	tool  string // the path of etcdctl

	mu      sync.Mutex
	bound   map[netip.Addr][]string // hosts that have an address of the pool, as their kernels tell
	twice   []string
	claims  bool // two hosts may have an address
	changes int  // how often an address was bound
}

const (
	swarmEtcd = "http://10.78.0.1:2379"
	swarmConf = "/etc/berth.yml"
)

// ofPool reports whether an address is one of those that the tests put into the pool.
func ofPool(a netip.Addr) bool {
	return netip.MustParsePrefix("192.0.2.0/24").Contains(a) || netip.MustParsePrefix("2001:db8::/64").Contains(a)
}

func newSwarm(t *testing.T) *swarm {
	t.Helper()
	testnet.Require(t)
	etcdctl, err := exec.LookPath("etcdctl")
	if err != nil {
		testnet.Require(t, "etcdctl")
	}
	s := &swarm{t: t, tool: etcdctl, berth: map[*testnet.Node]*testnet.Process{}, bound: map[netip.Addr][]string{}}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, log := range s.Logs() {
				t.Logf("%s:\n%s", log.Name, log)
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.twice) > 0 {
			t.Errorf("two hosts had an address at once: %q", s.twice)
		}
	})
	s.hub, err = s.Node("hub")
	s.must(err)
	s.must(s.hub.Bridge("br0"))
	s.must(s.hub.AddAddress("br0", netip.MustParsePrefix("10.78.0.1/24")))
	for i := range 3 {
		n, err := s.Node(fmt.Sprintf("node%d", i+1))
		s.must(err)
		port := fmt.Sprintf("port%d", i+1)
		s.must(testnet.Cable(n, "eth0", s.hub, port))
		s.must(s.hub.Plug("br0", port))
		s.must(n.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 78, 0, byte(11 + i)}), 24)))
		s.must(n.Up("eth0"))
		s.must(n.Sysctl("net/ipv4/conf/eth0/promote_secondaries", "1")) // for an address with a length
		s.must(n.Install("/usr/bin/berth", berth, 0o755))
		s.must(n.WriteFile("/run/well", "", 0o600))
		s.must(s.hub.Observe(n))
		s.hosts = append(s.hosts, n)
	}
	s.must(s.hub.WatchAddresses(s.see))
	s.startEtcd()
	s.must(s.hub.Install("/usr/bin/lab-etcdctl", etcdctl, 0o755))
	return s
}

func (s *swarm) startEtcd() {
	s.t.Helper()
	binary, err := etcdtest.Binary()
	s.must(err)
	s.must(s.hub.Install("/usr/bin/lab-etcd", binary, 0o755))
	at := netip.MustParseAddr("10.78.0.1")
	p := lab.EtcdPlace(s.hub, s.Record)
	p.Client, p.Peer, p.Metrics = netip.AddrPortFrom(at, 2379), netip.AddrPortFrom(at, 2380), netip.AddrPortFrom(at, 2381)
	c, err := etcdtest.New("/usr/bin/lab-etcd", "", []etcdtest.Place{p}, etcdtest.Options{})
	s.must(err)
	s.etcd = c
	s.OnClose(func() error { c.Close(); return nil })
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	s.must(c.Ready(ctx))
}

// see takes a change of the addresses of a host, in the order of the kernel.
func (s *swarm) see(e testnet.AddressEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := e.Address.Addr()
	if !e.Lost && !ofPool(a) {
		return
	}
	switch {
	case e.Lost:
		s.twice = append(s.twice, "events of the kernel were lost")
	case e.Added:
		s.changes++
		if s.bound[a] = append(s.bound[a], e.Node.Name); len(s.bound[a]) > 1 && !s.claims {
			s.twice = append(s.twice, fmt.Sprintf("%v on %v", a, s.bound[a]))
		}
	default:
		s.bound[a] = slices.DeleteFunc(s.bound[a], func(n string) bool { return n == e.Node.Name })
	}
}

func (s *swarm) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// start starts berth on a host.
func (s *swarm) start(n *testnet.Node, more string) {
	s.t.Helper()
	s.must(n.WriteFile(swarmConf, fmt.Sprintf(`etcd: {endpoints: [%q], member: %s, lease-ttl: 4s}
pool: {enabled: true, interface: eth0, health: [{name: well, exec: {command: [test, -e, /run/well]}, interval: 200ms, timeout: 200ms, rise: 1, fall: 1}]}
%s`, swarmEtcd, n.Name, more), 0o600))
	p, err := n.Start("berth", "/usr/bin/berth", "elect", swarmConf)
	s.must(err)
	s.Record(p.Log)
	s.berth[n] = p
}

// etcdctl runs etcdctl on the hub.
func (s *swarm) etcdctl(args ...string) {
	s.t.Helper()
	s.run(s.hub, append([]string{"/usr/bin/env", "ETCDCTL_API=3", "/usr/bin/lab-etcdctl", "--endpoints=" + swarmEtcd}, args...)...)
}

// run runs a command on a host and returns its output.
func (s *swarm) run(n *testnet.Node, command ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	out, err := n.Run(ctx, command[0], command[1:]...)
	if err != nil {
		s.t.Fatalf("%q: %v\n%s", command, err, out)
	}
	return out
}

// spread returns how many addresses of the pool each host has, by the kernels.
func (s *swarm) spread() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, hosts := range s.bound {
		for _, h := range hosts {
			n[h]++
		}
	}
	var parts []string
	for _, h := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%s:%d", h, n[h]))
	}
	return strings.Join(parts, " ")
}

// becomes waits until the addresses are spread in one of some ways.
func (s *swarm) becomes(within time.Duration, spreads ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeoutCause(s.t.Context(), within, errors.New("too late"))
	defer cancel()
	if err := s.Wait(ctx, fmt.Sprintf("the spread %q", spreads), func() bool { return slices.Contains(spreads, s.spread()) }); err != nil {
		s.t.Fatalf("%v; it is %q", err, s.spread())
	}
}

var threeWays = []string{"node1:4 node2:3 node3:3", "node1:3 node2:4 node3:3", "node1:3 node2:3 node3:4"}

// settled waits until no address moves any more, as etcd has it too.
func (s *swarm) settled() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	for {
		var all struct {
			Addresses []struct{ Waiting bool }
		}
		s.must(json.Unmarshal([]byte(s.run(s.hosts[0], "/usr/bin/berth", "pool", "list", "--config", swarmConf, "--output", "json")), &all))
		waiting := 0
		for _, a := range all.Addresses {
			if a.Waiting {
				waiting++
			}
		}
		if waiting == 0 {
			return
		}
		if ctx.Err() != nil {
			s.t.Fatalf("%d addresses still wait", waiting)
		}
	}
}

// moved returns how often an address was bound.
func (s *swarm) moved() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// adopts waits until berth of a host has the addresses of the process before it.
func (s *swarm) adopts(n *testnet.Node, since time.Time) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	log := s.berth[n].Log
	s.must(s.Wait(ctx, n.Name+" to adopt its lease", func() bool {
		adopted, ok := log.Find(since, func(text string) bool { return strings.Contains(text, "adopted the lease") })
		if !ok {
			return false
		}
		bound := 0
		for _, line := range log.Lines() {
			if line.Time.After(adopted.Time) && strings.Contains(line.Text, "addresses are bound") {
				bound++
			}
		}
		return bound >= 3
	}))
}

// list puts ten addresses of both families into the pool.
func (s *swarm) list() {
	s.t.Helper()
	for i := range 5 {
		s.etcdctl("put", fmt.Sprintf("/berth/pool/ips/192.0.2.%d", i+1), "")
		s.etcdctl("put", fmt.Sprintf("/berth/pool/ips/2001:db8::%d", i+1), "")
	}
}

// all waits until the ten addresses have an owner each, whoever that is.
func (s *swarm) all() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*waitLimit)
	defer cancel()
	s.must(s.Wait(ctx, "an owner of each address", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, hosts := range s.bound {
			n += len(hosts)
		}
		return n == 10
	}))
}

// says waits until berth of a host has logged an event.
func (s *swarm) says(n *testnet.Node, text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	s.must(s.Wait(ctx, fmt.Sprintf("%s to say %q", n.Name, text), func() bool {
		_, ok := s.berth[n].Log.Find(time.Time{}, func(line string) bool { return strings.Contains(line, text) })
		return ok
	}))
}
