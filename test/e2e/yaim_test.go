package e2e_test

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/etcdtest"
	"berth/test/lab"
)

// takeOver is how long addresses may stay without an owner after a fault of a node.
const takeOver = yaimLease + time.Second

// The promises of yaim's documentation, in its words, and the faults that yaim has had
// there. The subtests follow each other: three nodes, of which all are healthy between
// two subtests.
func TestYaimPromises(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, etcdtest.Options{})
	addresses := []netip.Addr{netip.MustParseAddr("10.78.0.201"), netip.MustParseAddr("10.78.0.202"), netip.MustParseAddr("10.78.0.203"),
		netip.MustParseAddr("10.78.0.204"), netip.MustParseAddr("2001:db8:78::205"), netip.MustParseAddr("10.78.0.206")}
	node1, node2, node3 := c.nodes[0], c.nodes[1], c.nodes[2]
	node1.configure(plain)
	// One of two endpoints does not answer; a list, and a text with commas.
	node2.configure("dcs_endpoints: [http://10.78.0.1:2379, http://10.78.0.1:2999]\ninterface: eth0\n")
	node3.configure("dcs-endpoints: http://10.78.0.1:2999,http://10.78.0.1:2379\ninterface: eth0\n")
	step := func(name string, f func(t *testing.T)) {
		if t.Failed() {
			return // what follows needs the state that this should have left
		}
		t.Run(name, func(t *testing.T) {
			outer := c.t
			c.t = t
			defer func() { c.t = outer }()
			f(t)
			c.once()
		})
	}

	step("nodes start at the same instant and no key is there", func(*testing.T) {
		node1.start()
		node2.start()
		c.add(addresses[0])
		c.even(addresses[:1], node1, node2)
	})
	step("simply create a key: yaim will then register that a new IP is available", func(t *testing.T) {
		begin := time.Now()
		c.add(addresses[1:]...)
		c.even(addresses, node1, node2)
		c.within(2*time.Second, begin, "adding")
		for _, a := range addresses {
			if got := c.length(a); got != a.BitLen() {
				t.Errorf("want %v without other addresses of its network, got /%d", a, got)
			}
		}
	})
	step("netmask: an address has another length if its key says so", func(t *testing.T) {
		other := netip.MustParsePrefix("10.78.0.207/24")
		for _, n := range c.nodes {
			c.must(n.Sysctl("net/ipv4/conf/eth0/promote_secondaries", "1"))
		}
		c.etcdctl("put", yaimPrefix+"ips/"+other.String(), "")
		c.even([]netip.Addr{other.Addr()}, node1, node2)
		if got := c.length(other.Addr()); got != other.Bits() {
			t.Errorf("want %v, got /%d", other, got)
		}
		c.etcdctl("del", yaimPrefix+"ips/"+other.String())
		c.none([]netip.Addr{other.Addr()})
		c.even(addresses, node1, node2)
	})
	step("roughly equal distribution among all nodes", func(*testing.T) {
		node3.start()
		c.even(addresses, node1, node2, node3)
	})
	step("deleting addresses from the pool: simply remove the key", func(*testing.T) {
		c.remove(addresses[0])
		c.none(addresses[:1])
		c.even(addresses[1:], node1, node2, node3)
		c.add(addresses[0])
		c.even(addresses, node1, node2, node3)
	})
	step("if the health check fails the remaining nodes take over: http-expected-code", func(*testing.T) {
		begin := time.Now()
		node1.answers(http.StatusServiceUnavailable, healthy)
		c.even(addresses, node2, node3)
		c.within(takeOver, begin, "taking over")
		node1.answers(http.StatusOK, healthy)
		c.even(addresses, node1, node2, node3)
	})
	step("if the health check fails the remaining nodes take over: http-expected-response-contains", func(*testing.T) {
		node1.answers(http.StatusOK, `{"value":"bar"}`)
		c.even(addresses, node2, node3)
		node1.answers(http.StatusOK, healthy)
		c.even(addresses, node1, node2, node3)
	})
	step("no healthy node: no node has an address", func(*testing.T) {
		for _, n := range c.nodes {
			n.answers(http.StatusNotFound, "")
		}
		c.none(addresses)
		for _, n := range c.nodes {
			n.answers(http.StatusOK, healthy)
		}
		c.even(addresses, node1, node2, node3)
	})
	step("a health check that hangs fails, and signals are served: SIGTERM", func(*testing.T) {
		node1.hangs()
		c.even(addresses, node2, node3)
		c.must(node1.berth.Signal(unix.SIGTERM))
		if status := node1.ended(); status != 0 {
			t.Errorf("want exit status 0, got %d", status)
		}
		node1.answers(http.StatusOK, healthy)
		node1.start()
		c.even(addresses, node1, node2, node3)
	})
	step("an address on a second node does not stay there", func(*testing.T) {
		other := node1
		if len(c.has(node1, addresses[:1])) > 0 {
			other = node2
		}
		c.must(other.AddAddress(lab.Link, netip.PrefixFrom(addresses[0], 32)))
		c.until("the address to be on two nodes", func() bool { return c.forgive() })
		c.until("the second to be removed", func() bool { return len(c.has(other, addresses[:1])) == 0 })
		c.even(addresses, node1, node2, node3)
	})
	step("the node goes down: kill -9", func(*testing.T) {
		begin := time.Now()
		c.must(node1.berth.Signal(unix.SIGKILL))
		c.even(addresses, node2, node3)
		c.within(takeOver, begin, "taking over")
		node1.start()
		c.even(addresses, node1, node2, node3)
	})
	step("SIGQUIT, by which the unit ends it, leaves no address behind", func(t *testing.T) {
		begin := time.Now()
		c.must(node1.berth.Signal(unix.SIGQUIT))
		if status := node1.ended(); status != 0 {
			t.Errorf("want exit status 0, got %d", status)
		}
		c.even(addresses, node2, node3)
		c.within(takeOver, begin, "taking over")
	})
	step("a node that cannot bind does not starve the pool", func(t *testing.T) {
		node1.configure("dcs-endpoints: http://" + segmentEtcd + ":2379\ninterface: nosuch0\n")
		node1.start()
		if status := node1.ended(); status == 0 {
			t.Error("want a failure without the interface")
		}
		c.even(addresses, node2, node3)
		node1.configure(plain)
		node1.start()
		c.even(addresses, node1, node2, node3)
		c.must(node1.Down(lab.Link))
		c.even(addresses, node2, node3)
		c.must(node1.Up(lab.Link))
		c.even(addresses, node1, node2, node3)
	})
	step("SIGHUP reads yaim.yml again, and SIGUSR2 ends for another program: no address moves", func(t *testing.T) {
		before := c.has(node1, addresses)
		node1.configure(plain + "retry_num: [2]\n")
		c.must(node1.berth.Signal(unix.SIGHUP))
		c.says(node1, "yaim.yml:14: retry_num: found a list", time.Time{})
		node1.configure(plain + "label: yaim\n")
		again := time.Now()
		c.must(node1.berth.Signal(unix.SIGHUP))
		c.says(node1, "label-unused", again)
		c.says(node1, "lease-adopted", again)
		c.must(node1.berth.Signal(unix.SIGUSR2))
		if status := node1.ended(); status != 0 {
			t.Errorf("want exit status 0, got %d", status)
		}
		node1.start()
		node1.answers(http.StatusOK, healthy)
		c.says(node1, "lease-adopted", time.Time{})
		if after := c.has(node1, addresses); !slices.Equal(before, after) {
			t.Errorf("node1 has had %v and has %v", before, after)
		}
	})
	m := c.etcd.Member(0)
	for _, loss := range []struct {
		name      string
		from, end func() error
	}{
		{"etcd refuses connections", m.Kill, m.Restart},
		{"etcd does not answer", m.Pause, m.Resume},
	} {
		step(loss.name+": the addresses leave before the lease ends, and come back", func(*testing.T) {
			begin := time.Now()
			c.must(loss.from())
			c.none(addresses)
			c.within(yaimLease+time.Second, begin, "leaving")
			c.must(loss.end())
			c.ready()
			c.even(addresses, node1, node2, node3)
		})
	}
	step("all keys lie below dcs-namespace and dcs-clustername", func(t *testing.T) {
		if all, own := c.etcdctl("get", "--prefix", "--keys-only", ""), c.etcdctl("get", "--prefix", "--keys-only", yaimPrefix); all != own {
			t.Errorf("want no key outside of %s, got\n%s", yaimPrefix, all)
		}
	})
}
