package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
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
)

// cluster is nodes with berth, called yaim, on one segment with an etcd.
type cluster struct {
	*segment
	nodes []*yaimNode
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
	c := &cluster{segment: newSegment(t)}
	t.Cleanup(func() { // before that of the segment
		for _, n := range c.nodes {
			n.answers(http.StatusOK, "") // let go of requests that hang
		}
	})
	for i := range nodes {
		c.join(i + 1)
	}
	c.begin(o)
	return c
}

// join makes a node on the segment.
func (c *cluster) join(i int) {
	c.t.Helper()
	node := c.attach(fmt.Sprintf("node%d", i), 10+i)
	n := &yaimNode{Node: node, cluster: c, code: http.StatusOK, body: `{"value":"foo"}`}
	c.called(node, yaimPath)
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
const plain = "dcs-endpoints: http://" + segmentEtcd + ":2379\ninterface: " + lab.Link + "\n"

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
