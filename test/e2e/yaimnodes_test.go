package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
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

// Where things are in a cluster of nodes that have a configuration of yaim.
const (
	yaimPath   = "/usr/bin/yaim" // a link to berth
	yaimDir    = "/etc"          // where yaim starts and finds ./yaim.yml
	yaimPrefix = "/service/yaim/"
	yaimLease  = 4 * time.Second
	yaimEtcd   = "10.78.0.1"
)

// cluster is nodes with berth, called yaim, on one segment with an etcd.
type cluster struct {
	testnet.Rig
	t      *testing.T
	router *testnet.Node // the segment; etcd runs on it
	etcd   *etcdtest.Cluster
	scheme string
	nodes  []*yaimNode

	mu      sync.Mutex
	owners  map[netip.Addr][]string // by address, the nodes that have it now
	lengths map[netip.Addr]int      // by address, the length with which it was bound last
	doubly  []string                // moments when two nodes had an address
}

// yaimNode is a node, and the component whose health decides about it.
type yaimNode struct {
	*testnet.Node
	cluster *cluster
	berth   *testnet.Process

	mu   sync.Mutex
	code int
	body string
	hang chan struct{} // while not nil, requests are not answered until it is closed
}

// newCluster makes a cluster that ends with the test. etcd starts with it.
func newCluster(t *testing.T, nodes int, o etcdtest.Options) *cluster {
	t.Helper()
	testnet.Require(t, "etcdctl")
	binary, err := etcdtest.Binary()
	if err != nil {
		if os.Getenv(testnet.RequireEnv) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	c := &cluster{t: t, owners: map[netip.Addr][]string{}, lengths: map[netip.Addr]int{}, scheme: "http://"}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.answers(http.StatusOK, "") // let go of requests that hang
		}
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
	c.router, err = c.Node("router")
	c.must(err)
	c.must(errors.Join(c.router.Bridge("br0"), c.router.AddAddress("br0", netip.MustParsePrefix(yaimEtcd+"/24"))))
	for i := range nodes {
		c.join(i + 1)
	}
	c.must(c.router.WatchAddresses(c.see))
	const path = "/usr/bin/berth-lab-etcd"
	c.must(c.router.Install(path, binary, 0o755))
	p := lab.EtcdPlace(c.router, c.Record)
	at := netip.MustParseAddr(yaimEtcd)
	p.Client, p.Peer, p.Metrics = netip.AddrPortFrom(at, 2379), netip.AddrPortFrom(at, 2380), netip.AddrPortFrom(at, 2381)
	dir := t.TempDir()
	if o.TLS {
		c.scheme = "https://"
		run := p.Run
		p.Run = func(name, path string, args ...string) (etcdtest.Process, error) {
			if err := install(c.router, dir); err != nil {
				return nil, err
			}
			return run(name, path, args...)
		}
	}
	c.etcd, err = etcdtest.New(path, dir, []etcdtest.Place{p}, o)
	c.must(err)
	c.OnClose(func() error {
		c.etcd.Close()
		return nil
	})
	c.ready()
	return c
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

// join makes a node on the segment.
func (c *cluster) join(i int) {
	c.t.Helper()
	name := fmt.Sprintf("node%d", i)
	node, err := c.Node(name)
	c.must(err)
	n := &yaimNode{Node: node, cluster: c, code: http.StatusOK, body: `{"value":"foo"}`}
	c.must(testnet.Cable(node, lab.Link, c.router, name))
	c.must(errors.Join(node.AddAddress(lab.Link, netip.MustParsePrefix(fmt.Sprintf("10.78.0.1%d/24", i))),
		node.AddAddress(lab.Link, netip.MustParsePrefix(fmt.Sprintf("2001:db8:78::1%d/64", i))),
		node.Up(lab.Link), c.router.Plug("br0", name), c.router.Observe(node),
		node.Install("/usr/bin/berth", berth, 0o755)))
	_, err = node.Run(c.t.Context(), "/bin/ln", "-s", "/usr/bin/berth", yaimPath)
	c.must(err)
	c.must(node.Do(func() error {
		l, err := net.Listen("tcp", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: n}
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve(l) })
		c.OnClose(func() error {
			err := server.Close()
			serving.Wait()
			return err
		})
		return nil
	}))
	c.nodes = append(c.nodes, n)
}

// ServeHTTP is the component.
func (n *yaimNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	code, body, hang := n.code, n.body, n.hang
	n.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(code)
	fmt.Fprint(w, body)
}

// answers makes the component answer so.
func (n *yaimNode) answers(code int, body string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.code, n.body = code, body
	if n.hang != nil {
		close(n.hang)
		n.hang = nil
	}
}

// hangs makes the component not answer any more.
func (n *yaimNode) hangs() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hang = make(chan struct{})
}

// healthy is an answer that the configuration takes as good.
const healthy = `{"value":"foo"}`

// configure writes the yaim.yml of a node; lines stand beside those of all nodes.
func (n *yaimNode) configure(lines string) {
	n.cluster.t.Helper()
	n.cluster.must(n.WriteFile(yaimDir+"/yaim.yml", `interval: 200
ttl: 4000
retry_after: 200
dcs-namespace: "/service/"
dcs-clustername: "yaim"
dcs-type: etcd
checker-type: http
http-url: http://127.0.0.1:8080/
http-expected-code: 200
http-expected-response-contains: '"value":"foo"'
netmask: 32
`+lines, 0o600))
}

// plain is for configure: an etcd without users, and the interface.
const plain = "dcs-endpoints: http://" + yaimEtcd + ":2379\ninterface: " + lab.Link + "\n"

// start starts yaim, which finds ./yaim.yml.
func (n *yaimNode) start() {
	n.cluster.t.Helper()
	var err error
	n.berth, err = n.Start("yaim", "/usr/bin/env", "-C", yaimDir, yaimPath)
	n.cluster.must(err)
	n.cluster.Record(n.berth.Log)
}

// ended waits until yaim has ended, and returns its exit status.
func (n *yaimNode) ended() int {
	n.cluster.t.Helper()
	n.cluster.until(n.Name+" to end", func() bool { return !n.berth.Exited().IsZero() })
	return n.berth.ExitCode()
}

// says waits until yaim of a node has written a text into its log after a moment.
func (c *cluster) says(n *yaimNode, text string, since time.Time) {
	c.t.Helper()
	c.until(fmt.Sprintf("%s to say %q", n.Name, text), func() bool {
		_, ok := n.berth.Log.Find(since, contains(text))
		return ok
	})
}

// see takes the changes of addresses of all nodes in their order.
func (c *cluster) see(e testnet.AddressEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := e.Address.Addr()
	switch {
	case e.Lost:
		c.doubly = append(c.doubly, "events were lost")
	case e.Added:
		c.owners[a], c.lengths[a] = append(c.owners[a], e.Node.Name), e.Address.Bits()
		if len(c.owners[a]) > 1 {
			c.doubly = append(c.doubly, fmt.Sprintf("%v at %s on %v", a, e.Time.Format("05.000"), c.owners[a]))
		}
	default:
		c.owners[a] = slices.DeleteFunc(c.owners[a], func(name string) bool { return name == e.Node.Name })
	}
}

// has returns which of the addresses a node has, in order.
func (c *cluster) has(n *yaimNode, addresses []netip.Addr) (list []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range addresses {
		if slices.Contains(c.owners[a], n.Name) {
			list = append(list, a)
		}
	}
	return list
}

// length returns the length of the prefix with which an address was bound last.
func (c *cluster) length(a netip.Addr) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lengths[a]
}

// once fails the test if two nodes had an address at once, ever since the last call.
func (c *cluster) once() {
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
func (c *cluster) forgive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	twice := len(c.doubly) > 0
	c.doubly = nil
	return twice
}

// even waits until the addresses are all on these nodes, each on one, and no two nodes
// have numbers of addresses that differ by more than one.
func (c *cluster) even(addresses []netip.Addr, on ...*yaimNode) {
	c.t.Helper()
	c.until(fmt.Sprintf("%v to be spread evenly over %d nodes", addresses, len(on)), func() bool {
		var all []netip.Addr
		least, most := len(addresses), 0
		for _, n := range on {
			own := c.has(n, addresses)
			all = append(all, own...)
			least, most = min(least, len(own)), max(most, len(own))
		}
		slices.SortFunc(all, netip.Addr.Compare)
		return slices.Equal(all, slices.SortedFunc(slices.Values(addresses), netip.Addr.Compare)) && most-least <= 1
	})
}

// none waits until no node has any of the addresses.
func (c *cluster) none(addresses []netip.Addr) {
	c.t.Helper()
	c.until(fmt.Sprintf("no node to have any of %v", addresses), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return !slices.ContainsFunc(addresses, func(a netip.Addr) bool { return len(c.owners[a]) > 0 })
	})
}

// endpoint is the URL of etcd.
func (c *cluster) endpoint() string { return c.scheme + yaimEtcd + ":2379" }

// operator returns the environment of etcdctl on the router.
func (c *cluster) operator() []string {
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
func (c *cluster) etcdctl(args ...string) string {
	c.t.Helper()
	out, err := c.router.Run(c.t.Context(), "/usr/bin/env", append(append(c.operator(), "etcdctl"), args...)...)
	if err != nil {
		c.t.Fatalf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// add puts addresses into the pool, and remove removes one.
func (c *cluster) add(addresses ...netip.Addr) {
	c.t.Helper()
	for _, a := range addresses {
		c.etcdctl("put", yaimPrefix+"ips/"+a.String(), "")
	}
}

func (c *cluster) remove(a netip.Addr) {
	c.t.Helper()
	c.etcdctl("del", yaimPrefix+"ips/"+a.String())
}

func (c *cluster) ready() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), waitLimit)
	defer cancel()
	c.must(c.etcd.Ready(ctx))
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// until waits for cond, and ends the test if cond is still false at waitLimit.
func (c *cluster) until(what string, cond func() bool) {
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
func (c *cluster) within(d time.Duration, since time.Time, what string) {
	c.t.Helper()
	if took := time.Since(since); took > d {
		c.t.Errorf("%s took %v, want %v at most", what, took, d)
	}
}
