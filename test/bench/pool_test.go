package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"

	"golang.org/x/sys/unix"
)

// The pool of the benchmark.
const (
	poolHosts  = 5
	poolSize   = 1000
	poolLease  = 5 * time.Second
	poolPrefix = "/berth/pool/"

	// poolLimit bounds the wait for one change to be carried out.
	poolLimit = 90 * time.Second
	// poolQuiet is how long the addresses must stay as they are before a change counts as
	// carried out.
	poolQuiet = time.Second
	// poolAnnounced is how long the announcements that follow a change go on.
	poolAnnounced = 7 * time.Second
	// poolRest is the time over which the load at rest is measured.
	poolRest = 10 * time.Second
)

// poolBed is etcd and the hosts on one network, and what the kernels of the hosts tell.
type poolBed struct {
	testnet.Rig
	*spread
	b     *testing.B
	wire  *testnet.Node
	etcd  *etcdtest.Cluster
	hosts []*poolHost
}

// poolHost is a machine that runs berth.
type poolHost struct {
	*testnet.Node
	berth *testnet.Process
}

// bedOptions are what differs between the benchmarks of many addresses.
type bedOptions struct {
	hosts  int
	config string // of each host, beside that of etcd
	apart  bool   // see spread
}

func newPoolBed(b *testing.B, o bedOptions) *poolBed {
	b.Helper()
	testnet.Require(b, "ip")
	binary, err := etcdtest.Binary()
	if err != nil {
		b.Skip(err)
	}
	t := &poolBed{b: b}
	t.spread = newSpread(o.apart)
	b.Cleanup(func() {
		if b.Failed() {
			for _, l := range t.Logs() {
				text := l.String()
				b.Logf("%s", text[max(0, len(text)-2000):])
			}
		}
		if err := t.Close(); err != nil {
			b.Error(err)
		}
	})
	berth := filepath.Join(b.TempDir(), "berth")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", berth, "berth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, text)
	}
	t.wire, err = t.Node("wire")
	t.must(err)
	t.must(t.wire.Bridge("lan"))
	t.must(t.wire.WatchAddresses(t.spread.note))
	for n := range o.hosts {
		name := fmt.Sprintf("host%d", n+1)
		node := t.join(name, 11+n)
		t.must(t.wire.Observe(node))
		t.must(errors.Join(node.Install("/usr/bin/berth", berth, 0o755), node.WriteFile("/etc/berth.yml", fmt.Sprintf(`
etcd: {endpoints: ["http://10.77.0.2:2379"], member: %s, lease-ttl: %v, prefix: /berth/}
%s`, name, poolLease, o.config), 0o600)))
		t.hosts = append(t.hosts, &poolHost{Node: node})
	}
	t.startEtcd(binary)
	return t
}

// join makes a machine on the network.
func (t *poolBed) join(name string, address int) *testnet.Node {
	t.b.Helper()
	n, err := t.Node(name)
	t.must(err)
	t.must(errors.Join(testnet.Cable(n, "eth0", t.wire, name), n.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(address)}), 24)),
		n.Up("eth0"), t.wire.Plug("lan", name)))
	return n
}

func (t *poolBed) startEtcd(binary string) {
	t.b.Helper()
	n := t.join("etcd", 2)
	t.must(n.Install("/usr/bin/bench-etcd", binary, 0o755))
	place, at := lab.EtcdPlace(n, t.Record), netip.MustParseAddr("10.77.0.2")
	place.Client, place.Peer, place.Metrics = netip.AddrPortFrom(at, 2379), netip.AddrPortFrom(at, 2380), netip.AddrPortFrom(at, 2381)
	var err error
	t.etcd, err = etcdtest.New("/usr/bin/bench-etcd", t.b.TempDir(), []etcdtest.Place{place}, etcdtest.Options{})
	t.must(err)
	t.OnClose(func() error { t.etcd.Close(); return nil })
	ctx, cancel := context.WithTimeout(t.b.Context(), poolLimit)
	defer cancel()
	t.must(t.etcd.Ready(ctx))
}

func (t *poolBed) must(err error) {
	t.b.Helper()
	if err != nil {
		t.b.Fatal(err)
	}
}

func (t *poolBed) start(h *poolHost) {
	t.b.Helper()
	var err error
	h.berth, err = h.Start("berth", "/usr/bin/berth", "elect", "/etc/berth.yml")
	t.must(err)
	t.Record(h.berth.Log)
	t.runs(h.Node, true)
}

// end ends the berth of a host. It does not wait.
func (t *poolBed) end(h *poolHost, sig unix.Signal) {
	t.b.Helper()
	t.runs(h.Node, false)
	t.must(h.berth.Signal(sig))
}

// add puts addresses into the list.
func (t *poolBed) add(addrs []netip.Addr) {
	t.b.Helper()
	t.list(addrs, true)
	var keys []string
	for _, a := range addrs {
		keys = append(keys, poolPrefix+"ips/"+a.String())
	}
	t.put(keys, "1")
}

// put gives keys a value, in transactions as large as etcd takes.
func (t *poolBed) put(keys []string, value string) {
	t.b.Helper()
	type put struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}
	type op struct {
		RequestPut put `json:"requestPut"`
	}
	for from := 0; from < len(keys); from += 128 {
		var txn struct {
			Success []op `json:"success"`
		}
		for _, key := range keys[from:min(from+128, len(keys))] {
			txn.Success = append(txn.Success, op{put{[]byte(key), []byte(value)}})
		}
		t.must(t.etcd.Call(t.b.Context(), "kv/txn", txn, nil))
	}
}

// removeAll removes the whole list.
func (t *poolBed) removeAll(addrs []netip.Addr) {
	t.b.Helper()
	t.list(addrs, false)
	t.must(t.etcd.Call(t.b.Context(), "kv/deleterange", map[string][]byte{"key": []byte(poolPrefix + "ips/"), "range_end": []byte(poolPrefix + "ips0")}, nil))
}

// settled waits until each address is on one host, a pool evenly, and returns how long after
// begun that was.
func (t *poolBed) settled(what string, begun time.Time) time.Duration {
	t.b.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range again.C {
		at, state := t.good()
		if !at.IsZero() && time.Since(at) >= poolQuiet {
			return max(0, at.Sub(begun))
		}
		if time.Since(begun) > poolLimit {
			t.b.Fatalf("%s: want each address on one host, evenly, within %v: %s", what, poolLimit, state)
		}
	}
	panic("unreachable")
}

// load is what clients have asked of etcd so far.
type load struct {
	at                 time.Time
	unary              map[string]float64 // requests by method
	keepAlives, events float64            // messages of streams: keep-alives to etcd, answers of watches from it
	received, sent     float64            // bytes
}

func (t *poolBed) load() load {
	t.b.Helper()
	l := load{at: time.Now(), unary: map[string]float64{}}
	values := t.etcd.Member(0).Metrics(t.b.Context())
	if values == nil {
		t.b.Fatal("etcd tells no metrics")
	}
	for name, text := range values {
		v, _ := strconv.ParseFloat(text, 64)
		method := label(name, "grpc_method")
		switch {
		case name == "etcd_network_client_grpc_received_bytes_total":
			l.received = v
		case name == "etcd_network_client_grpc_sent_bytes_total":
			l.sent = v
		case strings.HasPrefix(name, "grpc_server_started_total{") && label(name, "grpc_type") == "unary":
			l.unary[method] += v
		case strings.HasPrefix(name, "grpc_server_msg_received_total{") && method == "LeaseKeepAlive":
			l.keepAlives += v
		case strings.HasPrefix(name, "grpc_server_msg_sent_total{") && method == "Watch":
			l.events += v
		}
	}
	return l
}

// label returns the value of a label in the name of a series.
func label(name, of string) string {
	_, rest, _ := strings.Cut(name, of+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// since is the load from another moment to this one.
func (l load) since(former load) load {
	d := load{at: l.at, unary: map[string]float64{}, keepAlives: l.keepAlives - former.keepAlives, events: l.events - former.events,
		received: l.received - former.received, sent: l.sent - former.sent}
	for method, n := range l.unary {
		if n -= former.unary[method]; n > 0 {
			d.unary[method] = n
		}
	}
	return d
}

func (l load) requests() (n float64) {
	for _, v := range l.unary {
		n += v
	}
	return n + l.keepAlives
}

func (l load) String() string {
	return fmt.Sprintf("%.0f requests %v and %.0f keep-alives, %.0f answers of watches, %.0f kB to etcd, %.0f kB from it",
		l.requests()-l.keepAlives, l.unary, l.keepAlives, l.events, l.received/1000, l.sent/1000)
}

// status returns a line of /proc/PID/status of the berth of a host, in MB.
func (h *poolHost) status(key string) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.berth.PID()))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == key+":" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			return kb / 1024
		}
	}
	return math.NaN()
}

// cpu returns the CPU time that the berth of a host has used.
func (h *poolHost) cpu() time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.berth.PID()))
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// most returns the largest value among the hosts.
func most[T cmp.Ordered](hosts []*poolHost, of func(*poolHost) T) (m T) {
	for _, h := range hosts {
		m = max(m, of(h))
	}
	return m
}

// BenchmarkPool is a pool of 1,000 addresses on five hosts with one etcd: for each change,
// the time until the kernels of the hosts have every address exactly once and evenly, how
// long an address was on no host or on two, and what was asked of etcd; and the load at
// rest.
func BenchmarkPool(b *testing.B) {
	t := newPoolBed(b, bedOptions{hosts: poolHosts, config: "pool: {enabled: true, interface: eth0}\n"})
	addrs := poolAddresses(poolSize + 100)
	list, more := addrs[:poolSize], addrs[poolSize:]
	change := t.change
	for b.Loop() {
		t.add(list)
		change("start", func() {
			for _, h := range t.hosts {
				t.start(h)
			}
		})
		t.rest()
		last := t.hosts[poolHosts-1]
		change("stop", func() { t.end(last, unix.SIGTERM) })
		change("join", func() { t.start(last) })
		change("kill", func() { t.end(last, unix.SIGKILL) })
		change("return", func() { t.start(last) })
		change("add100", func() { t.add(more) })
		change("remove", func() { t.removeAll(addrs) })
		change("add1000", func() { t.add(list) })
		b.ReportMetric(most(t.hosts, func(h *poolHost) float64 { return h.status("VmHWM") }), "peak-MB")
		for _, h := range t.hosts {
			t.end(h, unix.SIGTERM)
			<-h.berth.Done()
		}
		t.removeAll(addrs)
	}
	b.ReportMetric(0, "ns/op")
}

// change makes a change, measures until it is carried out, and reports what it took.
func (t *poolBed) change(name string, f func()) {
	t.b.Helper()
	before := t.load()
	t.begin()
	begun := time.Now()
	f()
	took := t.settled(name, begun)
	none, two := t.longest()
	t.b.Logf("%s: %v; longest on no host %v, on two %v; %v", name, took.Round(time.Millisecond), none.Round(time.Millisecond), two.Round(time.Millisecond), t.load().since(before))
	t.b.ReportMetric(took.Seconds(), name+"-s")
}

// rest measures a while in which nothing changes.
func (t *poolBed) rest() {
	t.b.Helper()
	<-time.After(poolAnnounced)
	var used []time.Duration
	for _, h := range t.hosts {
		used = append(used, h.cpu())
	}
	before := t.load()
	<-time.After(poolRest)
	l := t.load().since(before)
	var busiest time.Duration
	for n, h := range t.hosts {
		busiest = max(busiest, h.cpu()-used[n])
	}
	rss := most(t.hosts, func(h *poolHost) float64 { return h.status("VmRSS") })
	t.b.Logf("rest, %v: %v; %.0f MB and %.1f %% of a CPU on the busiest host", poolRest, l, rss, 100*busiest.Seconds()/poolRest.Seconds())
	t.b.ReportMetric(l.requests()/poolRest.Seconds(), "rest-req/s")
	t.b.ReportMetric((l.received+l.sent)/poolRest.Seconds()/1000, "rest-kB/s")
	t.b.ReportMetric(rss, "rest-MB")
}

func poolAddresses(n int) (list []netip.Addr) {
	for i := range n {
		list = append(list, netip.AddrFrom4([4]byte{10, 99, byte(i / 250), byte(i%250 + 1)}))
	}
	return list
}
