package e2e_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"

	"golang.org/x/sys/unix"
)

// adding is two hosts whose names begin alike, with addresses that are added at run time.
type adding struct {
	*segment
	lb1, lb10 *testnet.Node
	policy    string
	berth     map[*testnet.Node]*testnet.Process
}

var (
	added1 = netip.MustParseAddr("192.0.2.1")
	added2 = netip.MustParseAddr("192.0.2.2")
	added6 = netip.MustParseAddr("2001:db8::1")
)

func newAdding(t *testing.T, policy string) *adding {
	t.Helper()
	a := &adding{segment: newSegment(t), policy: policy, berth: map[*testnet.Node]*testnet.Process{}}
	a.lb1, a.lb10 = a.attach("lb1", 11), a.attach("lb10", 12)
	a.begin(etcdtest.Options{})
	for _, n := range []*testnet.Node{a.lb1, a.lb10} {
		a.start(n)
	}
	return a
}

// start starts berth on a host. The instance has nothing to do with what is added.
func (a *adding) start(n *testnet.Node) {
	a.t.Helper()
	const path = "/etc/berth.yml"
	a.must(n.WriteFile(path, fmt.Sprintf(`etcd: {endpoints: [%q], member: %s, lease-ttl: 4s}
election: {interface: %s, on-etcd-loss: %s, instances: [{name: own-%s, addresses: [198.51.100.%d]}]}
api: {listen: "127.0.0.1:1313"}
`, a.endpoint(), n.Name, lab.Link, a.policy, n.Name, len(n.Name)), 0o600))
	since := time.Now()
	p, err := n.Start("berth", "/usr/bin/berth", "elect", path)
	a.must(err)
	a.Record(p.Log)
	a.berth[n] = p
	a.says(n, since, "taking part in the election")
}

// says waits until berth of a host has logged a text.
func (a *adding) says(n *testnet.Node, since time.Time, text string) {
	a.t.Helper()
	a.until(n.Name+" to say "+text, func() bool {
		_, said := a.berth[n].Log.Find(since, func(line string) bool { return strings.Contains(line, text) })
		return said
	})
}

func (a *adding) put(n *testnet.Node, ip netip.Addr, value string) {
	a.t.Helper()
	a.etcdctl("put", fmt.Sprintf("/berth/added/%s/%v", n.Name, ip), value)
}

// has waits until exactly one host has an address: n, or no matter which for nil.
func (a *adding) has(n *testnet.Node, ip netip.Addr) *testnet.Node {
	a.t.Helper()
	var owner string
	a.until(fmt.Sprintf("one owner of %v", ip), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.owners[ip]) != 1 || n != nil && a.owners[ip][0] != n.Name {
			return false
		}
		owner = a.owners[ip][0]
		return true
	})
	if owner == a.lb1.Name {
		return a.lb1
	}
	return a.lb10
}

// adopted waits until berth of a host has the addresses of the process before it, and fails
// the test if one of them has moved.
func (a *adding) adopted(n *testnet.Node, since time.Time, ips ...netip.Addr) {
	a.t.Helper()
	for _, ip := range ips {
		a.says(n, since, fmt.Sprintf(`"event": "elected", "address": "%v"`, ip))
		a.has(n, ip)
	}
	if n := a.bindings(); n != 0 {
		a.t.Errorf("want that nothing moves, addresses were bound %d times", n)
	}
}

// bindings returns how often added addresses were bound since the last call.
func (a *adding) bindings() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n = a.bound
	a.bound = 0
	return n
}

func TestAddedAddresses(t *testing.T) {
	t.Parallel()
	a := newAdding(t, "release")

	// A key of one host is none of the other, whose name begins alike.
	a.put(a.lb10, added2, "")
	a.has(a.lb10, added2)
	a.put(a.lb1, added1, "")
	a.put(a.lb1, added6, `{"ip":"2001:db8::1/128"}`)
	a.has(a.lb1, added1)
	a.has(a.lb1, added6)
	if out := a.status(a.lb1); !strings.Contains(out, "192.0.2.1") || strings.Contains(out, "192.0.2.2") {
		t.Errorf("want the host's own addresses in its status, got\n%s", out)
	}

	// Nothing moves when berth is killed, reloaded or upgraded.
	a.put(a.lb10, added1, "")
	a.says(a.lb10, time.Time{}, `"event": "demoted", "address": "192.0.2.1"`)
	a.bindings()
	since := time.Now()
	a.must(a.berth[a.lb1].Signal(unix.SIGKILL))
	<-a.berth[a.lb1].Done()
	a.start(a.lb1)
	a.adopted(a.lb1, since, added1, added6)
	since = time.Now()
	a.must(a.berth[a.lb1].Signal(unix.SIGHUP))
	a.adopted(a.lb1, since, added1, added6)
	since = time.Now()
	a.must(a.berth[a.lb1].Signal(unix.SIGUSR2))
	<-a.berth[a.lb1].Done()
	a.start(a.lb1)
	a.adopted(a.lb1, since, added1, added6)

	// SIGTERM hands over, and what the other host does not have is on none.
	since = time.Now()
	a.must(a.berth[a.lb1].Signal(unix.SIGTERM))
	a.has(a.lb10, added1)
	a.within(2*time.Second, since, "the hand-over")
	a.none([]netip.Addr{added6})
	<-a.berth[a.lb1].Done()
	a.start(a.lb1)
	a.has(a.lb1, added6)

	// A key that is deleted ends the address, and its file in the status.
	a.etcdctl("del", "/berth/added/lb1/2001:db8::1")
	a.none([]netip.Addr{added6})
	a.until("the status to forget the address", func() bool { return !strings.Contains(a.status(a.lb1), "2001:db8::1") })
	a.once()
}

func (a *adding) status(n *testnet.Node) string {
	out, _ := n.Run(a.t.Context(), "/usr/bin/berth", "status") // it fails for instances in BACKUP
	return out
}

// LinK's promise: a member that reaches neither etcd nor an owner takes the address.
func TestAddedAddressesAreClaimedWithoutEtcd(t *testing.T) {
	t.Parallel()
	a := newAdding(t, "claim")
	a.put(a.lb1, added1, "")
	a.has(a.lb1, added1)
	a.put(a.lb10, added1, "")
	a.says(a.lb10, time.Time{}, `"event": "demoted", "address": "192.0.2.1"`)
	a.once()
	for _, m := range a.etcd.Members() {
		a.must(m.Kill())
	}
	since := time.Now()
	a.must(a.berth[a.lb1].Signal(unix.SIGTERM)) // the owner is gone, and etcd cannot tell
	a.says(a.lb10, since, `"event": "fault", "address": "192.0.2.1", "former": "STANDBY", "state": "ACTIVATED"`)
	a.has(a.lb10, added1)
	// A start without etcd knows the list from its file.
	<-a.berth[a.lb1].Done()
	since = time.Now()
	a.start(a.lb1)
	a.says(a.lb1, since, `"event": "fault", "address": "192.0.2.1", "former": "BOOTING", "state": "ACTIVATED"`)
	for _, m := range a.etcd.Members() {
		a.must(m.Restart())
	}
	a.ready()
	a.has(nil, added1)
	a.forgive()
}

// The list outlives an etcd that has lost it.
func TestAddedAddressesOfAnEtcdThatIsWiped(t *testing.T) {
	t.Parallel()
	a := newAdding(t, "claim")
	value := `{"ip":"192.0.2.2/32","keepalive_interval":7}`
	a.put(a.lb1, added1, "")
	a.put(a.lb1, added2, value)
	a.put(a.lb10, added1, "")
	a.has(nil, added1)
	a.has(a.lb1, added2)
	since := time.Now()
	a.must(a.etcd.Wipe("other"))
	a.says(a.lb1, since, "ips-lost")
	a.says(a.lb1, since, "the added addresses are in etcd again")
	a.says(a.lb10, since, "the added addresses are in etcd again")
	if got := a.etcdctl("get", "--print-value-only", "/berth/added/lb1/192.0.2.2"); strings.TrimSpace(got) != value {
		t.Errorf("want %s again, got %s", value, got)
	}
	a.has(nil, added1)
	a.has(a.lb1, added2)
	a.etcdctl("del", "--prefix", "/berth/added/")
	a.none([]netip.Addr{added1, added2})
}
