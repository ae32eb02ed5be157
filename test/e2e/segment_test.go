package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// segmentEtcd is where etcd is on a segment.
const segmentEtcd = "10.78.0.1"

// segment is a network of nodes with an etcd, on which every change of an address of a
// node is seen.
type segment struct {
	testnet.Rig
	t      *testing.T
	router *testnet.Node // the segment; etcd runs on it
	etcd   *etcdtest.Cluster

	mu      sync.Mutex
	owners  map[netip.Addr][]string    // by address, the nodes that have it now
	ever    map[netip.Addr][]string    // by address, the nodes that have had it
	lengths map[netip.Addr]int         // by address, the length with which it was bound last
	last    map[netip.Addr]time.Time   // by address, when it came to a node last
	left    map[netip.Addr]time.Time   // by address, when it left a node last
	doubly  []string                   // moments when two nodes had an address
	bound   int                        // how often an address was bound
	watched func(testnet.AddressEvent) // called with mu, after each event, unless it is nil
}

// newSegment makes a segment that ends with the test, without nodes and etcd.
func newSegment(t *testing.T) *segment {
	t.Helper()
	testnet.Require(t, "etcdctl")
	c := &segment{t: t, owners: map[netip.Addr][]string{}, ever: map[netip.Addr][]string{}, lengths: map[netip.Addr]int{}, last: map[netip.Addr]time.Time{}, left: map[netip.Addr]time.Time{}}
	t.Cleanup(func() {
		if t.Failed() {
			for _, log := range c.Logs() {
				if !strings.Contains(log.Name, "etcd1") {
					t.Logf("%s said:\n%s", log.Name, log)
				}
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	var err error
	c.router, err = c.Node("router")
	c.must(err)
	c.must(errors.Join(c.router.Bridge("br0"), c.router.AddAddress("br0", netip.MustParsePrefix(segmentEtcd+"/24"))))
	return c
}

// attach makes a node on the segment, which has the program berth. number is the last part
// of its addresses.
func (c *segment) attach(name string, number int) *testnet.Node {
	c.t.Helper()
	node, err := c.Node(name)
	c.must(err)
	c.must(testnet.Cable(node, lab.Link, c.router, name))
	c.must(errors.Join(node.AddAddress(lab.Link, netip.MustParsePrefix(fmt.Sprintf("10.78.0.%d/24", number))),
		node.AddAddress(lab.Link, netip.MustParsePrefix(fmt.Sprintf("2001:db8:78::%d/64", number))),
		node.Up(lab.Link), c.router.Plug("br0", name), c.router.Observe(node),
		node.Install("/usr/bin/berth", berth, 0o755)))
	return node
}

// called gives a node a link to berth at path.
func (c *segment) called(n *testnet.Node, path string) {
	c.t.Helper()
	_, err := n.Run(c.t.Context(), "/bin/sh", "-c", fmt.Sprintf("mkdir -p %s && ln -s /usr/bin/berth %s", filepath.Dir(path), path))
	c.must(err)
}

// begin begins to see what the nodes do, and starts an etcd of one member on the router.
func (c *segment) begin(o etcdtest.Options) {
	c.t.Helper()
	c.beginOn(o, map[string]*testnet.Node{segmentEtcd: c.router})
}

// beginOn does what begin does, with a member of etcd on each of some nodes, by the address
// on which it listens.
func (c *segment) beginOn(o etcdtest.Options, nodes map[string]*testnet.Node) {
	c.t.Helper()
	binary, err := etcdtest.Binary()
	if err != nil {
		if os.Getenv(testnet.RequireEnv) == "1" {
			c.t.Fatal(err)
		}
		c.t.Skip(err)
	}
	c.must(c.router.WatchAddresses(c.see))
	const path = "/usr/bin/berth-lab-etcd"
	dir := c.t.TempDir()
	var places []etcdtest.Place
	for _, address := range slices.Sorted(maps.Keys(nodes)) {
		node, at := nodes[address], netip.MustParseAddr(address)
		c.must(node.Install(path, binary, 0o755))
		p := lab.EtcdPlace(node, c.Record)
		p.Client, p.Peer, p.Metrics = netip.AddrPortFrom(at, 2379), netip.AddrPortFrom(at, 2380), netip.AddrPortFrom(at, 2381)
		if o.TLS {
			run := p.Run
			p.Run = func(name, path string, args ...string) (etcdtest.Process, error) {
				if err := install(node, dir); err != nil {
					return nil, err
				}
				return run(name, path, args...)
			}
		}
		places = append(places, p)
	}
	c.etcd, err = etcdtest.New(path, dir, places, o)
	c.must(err)
	c.OnClose(func() error {
		c.etcd.Close()
		return nil
	})
	c.ready()
}

// install gives a node the files of a directory, at the same paths.
func install(n *testnet.Node, dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		err = errors.Join(err, n.Install(path, path, 0o600))
	}
	return err
}

// see takes the changes of addresses of all nodes in their order.
func (c *segment) see(e testnet.AddressEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched != nil {
		defer c.watched(e)
	}
	a := e.Address.Addr()
	switch {
	case e.Lost:
		c.doubly = append(c.doubly, "events were lost")
	case e.Added:
		c.bound++
		c.owners[a], c.lengths[a] = append(c.owners[a], e.Node.Name), e.Address.Bits()
		c.ever[a], c.last[a] = append(c.ever[a], e.Node.Name), e.Time
		if len(c.owners[a]) > 1 {
			c.doubly = append(c.doubly, fmt.Sprintf("%v at %s on %v", a, e.Time.Format("05.000"), c.owners[a]))
		}
	default:
		c.left[a] = e.Time
		c.owners[a] = slices.DeleteFunc(c.owners[a], func(name string) bool { return name == e.Node.Name })
	}
}

// backSince reports whether an address has come to a node after a moment.
func (c *segment) backSince(a netip.Addr, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[a].After(since)
}

// length returns the length of the prefix with which an address was bound last.
func (c *segment) length(a netip.Addr) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lengths[a]
}

// once fails the test if two nodes had an address at once, ever since the last call.
func (c *segment) once() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.doubly) > 0 {
		c.t.Errorf("want each address on one node at most, got %q", c.doubly)
	}
	c.doubly = nil
}

// forgive reports whether two nodes have had an address at once since the last call of
// once, which it makes undone: the test has put the address there.
func (c *segment) forgive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	twice := len(c.doubly) > 0
	c.doubly = nil
	return twice
}

// none waits until no node has any of the addresses.
func (c *segment) none(addresses []netip.Addr) {
	c.t.Helper()
	c.until(fmt.Sprintf("no node to have any of %v", addresses), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return len(c.owners[a]) > 0 })
	})
}

// endpoint is the URL of etcd, or of its members, with commas between them.
func (c *segment) endpoint() string { return strings.Join(c.etcd.Endpoints(), ",") }

// operator returns the environment of etcdctl on the router.
func (c *segment) operator() []string {
	c.t.Helper()
	all := []string{"ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=" + c.endpoint()}
	if ca := c.etcd.CAFile(); ca != "" {
		cert, key, err := c.etcd.ClientCertificate("operator", time.Hour)
		c.must(err)
		c.must(install(c.router, filepath.Dir(ca)))
		all = append(all, "ETCDCTL_CACERT="+ca, "ETCDCTL_CERT="+cert, "ETCDCTL_KEY="+key)
	}
	return all
}

// etcdctl runs etcdctl on the router.
func (c *segment) etcdctl(args ...string) string {
	c.t.Helper()
	out, err := c.router.Run(c.t.Context(), "/usr/bin/env", append(append(c.operator(), "etcdctl"), args...)...)
	if err != nil {
		c.t.Fatalf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *segment) ready() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), waitLimit)
	defer cancel()
	c.must(c.etcd.Ready(ctx))
}

func (c *segment) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// until waits for cond, and ends the test if cond is still false at waitLimit.
func (c *segment) until(what string, cond func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), waitLimit)
	defer cancel()
	if err := c.Wait(ctx, what, cond); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.t.Fatalf("%v; the addresses are on %v", err, maps.Collect(maps.All(c.owners)))
	}
}

// within fails the test if more than d has passed since a moment.
func (c *segment) within(d time.Duration, since time.Time, what string) {
	c.t.Helper()
	if took := time.Since(since); took > d {
		c.t.Errorf("%s took %v, want %v at most", what, took, d)
	}
}
