package faults

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"berth/internal/etcdtest"
	"berth/internal/testnet"
	"berth/test/lab"
)

// The addresses whose owner is elected.
var (
	Address4 = netip.MustParseAddr("192.0.2.254")
	Address6 = netip.MustParseAddr("2001:db8::254")
)

// CrowdAddresses returns the addresses of instance i of a crowd.
func CrowdAddresses(i int) (list []netip.Addr) {
	for n := range 3 {
		list = append(list, netip.AddrFrom4([4]byte{198, 18, byte(i), byte(n + 1)}))
	}
	for n := range 2 {
		a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1}
		a[14], a[15] = byte(i), byte(n+1)
		list = append(list, netip.AddrFrom16(a))
	}
	return list
}

// Where things are on a host, and how long a lease lasts.
const (
	ServiceLink = "eth0"
	EtcdLink    = "eth1"
	Instance    = "api"
	BerthPath   = "/usr/bin/berth"
	ConfigPath  = "/etc/berth.yml"
	Lease       = 5 * time.Second

	etcdPath  = "/usr/bin/berth-lab-etcd"
	clockPath = "/run/clock"
	// clientPort is the client's at the switch.
	clientPort = "client"
	prefix     = "/berth/"
)

// waitLimit bounds each wait of the lab.
const waitLimit = 30 * time.Second

// Options are what differs between labs.
type Options struct {
	Berth string // path of the binary
	Etcd  string // path of the etcd
	Hosts int    // 3 if 0
	// OnEtcdLoss is election.on-etcd-loss, release if empty.
	OnEtcdLoss string
	// Clock says that Berth is one of BuildWithClock.
	Clock bool
	// Crowd is how many instances there are beside Instance, each with the five
	// addresses of CrowdAddresses.
	Crowd int
	// Pool is how many addresses etcd lists for a pool, which the hosts have in place of
	// Instance: those of PoolAddresses.
	Pool int
	// API says that berth of each host serves its API at APIAddress.
	API bool
	// Link says that each host has berth in place of LinK, configured by LinK's environment:
	// no Instance, and the API at APIAddress.
	Link bool
	// Added says that the hosts have no Instance: its addresses are added to each of them
	// at run time, see Lab.Add, and are elected one by one.
	Added bool
	// Health says that every host has a health check, of a service that the lab runs; with
	// Added, that each address has one, of a connection to that service.
	Health bool
	// Patroni says that the hosts follow Patroni, see StartPatroni, and elect no owner.
	Patroni bool
	// Named says that the hosts know etcd's members by name, from two name servers
	// of which the first never answers.
	Named bool
	// Quiet leaves out the client's requests and what it hears: a lab that stays
	// up for days would keep all of them.
	Quiet bool
}

// A Lab is the client, the hosts, etcd and the cables. It is for one goroutine at a
// time.
type Lab struct {
	testnet.Rig

	Client *testnet.Node
	Switch *testnet.Node // both LANs
	Hosts  []*Host
	Etcd   *etcdtest.Cluster
	// EtcdNodes are the machines of its members.
	EtcdNodes []*testnet.Node

	probed  []netip.Addr          // addresses that the client asks
	names   []*testnet.NameServer // with Options.Named
	options Options
	record  *recorder
	dir     string
}

// New builds a lab in which etcd is about to start and nothing else runs. Close
// must be called.
func New(o Options) (*Lab, error) {
	if o.Hosts == 0 {
		o.Hosts = 3
	}
	if o.OnEtcdLoss == "" {
		o.OnEtcdLoss = "release"
	}
	l := &Lab{options: o}
	if err := l.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("build lab: %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) build() (err error) {
	if l.dir, err = os.MkdirTemp("", "berth-faults-"); err != nil {
		return err
	}
	l.OnClose(func() error { return os.RemoveAll(l.dir) })
	if l.Switch, err = l.Node("switch"); err != nil {
		return err
	}
	if err := errors.Join(l.Switch.Bridge("service"), l.Switch.Bridge("aside"), l.Switch.Bridge("etcd")); err != nil {
		return err
	}
	if l.options.Named {
		if err := l.serveNames(); err != nil {
			return err
		}
	}
	l.probed = []netip.Addr{Address4, Address6}
	if l.options.Pool > 0 {
		l.probed = PoolAddresses(l.options.Pool)
	}
	addresses := slices.Clone(l.probed)
	for i := range l.options.Crowd {
		addresses = append(addresses, CrowdAddresses(i)...)
	}
	l.record = newRecorder(l.Bell(), addresses)
	l.OnClose(l.record.close)
	if err := l.Switch.WatchAddresses(l.record.address); err != nil {
		return err
	}
	if l.Client, err = l.Node("client"); err != nil {
		return err
	}
	if err := l.join(l.Client, ServiceLink, "service", clientPort, "192.0.2.2/24", "2001:db8::2/64"); err != nil {
		return err
	}
	for i := range l.options.Hosts {
		h := &Host{number: i + 1, lab: l}
		l.Hosts = append(l.Hosts, h)
		if err := h.boot(); err != nil {
			return err
		}
	}
	if !l.options.Quiet {
		if err := l.record.listen(l.Client, ServiceLink); err != nil {
			return err
		}
		if err := l.record.probe(l.Client, l.probed); err != nil {
			return err
		}
	}
	return l.startEtcd()
}

// join gives a node a cable to one of the switch's bridges.
func (l *Lab) join(n *testnet.Node, link, bridge, port string, addresses ...string) error {
	if err := testnet.Cable(n, link, l.Switch, port); err != nil {
		return err
	}
	for _, a := range addresses {
		if err := n.AddAddress(link, netip.MustParsePrefix(a)); err != nil {
			return err
		}
	}
	return errors.Join(n.Up(link), l.Switch.Plug(bridge, port))
}

func etcdAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 78, 0, byte(21 + i)}) }

func (l *Lab) startEtcd() error {
	var places []etcdtest.Place
	for i := range 3 {
		n, err := l.Node(fmt.Sprintf("etcd%d", i+1))
		if err != nil {
			return err
		}
		l.EtcdNodes = append(l.EtcdNodes, n)
		at := etcdAddress(i)
		if err := l.join(n, ServiceLink, "etcd", n.Name, at.String()+"/24"); err != nil {
			return err
		}
		if err := n.Install(etcdPath, l.options.Etcd, 0o755); err != nil {
			return err
		}
		p := lab.EtcdPlace(n, l.Record)
		p.Client, p.Peer, p.Metrics = netip.AddrPortFrom(at, 2379), netip.AddrPortFrom(at, 2380), netip.AddrPortFrom(at, 2381)
		places = append(places, p)
	}
	c, err := etcdtest.New(etcdPath, l.dir, places, etcdtest.Options{})
	if err != nil {
		return err
	}
	l.Etcd = c
	return nil
}

// Ready waits until etcd serves.
func (l *Lab) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	return l.Etcd.Ready(ctx)
}

// Until is Wait within waitLimit.
func (l *Lab) Until(ctx context.Context, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	return l.Wait(ctx, what, cond)
}

// Owner returns the host that alone has all the addresses, nil if there is none.
func (l *Lab) Owner() *Host {
	var owner string
	for _, a := range l.record.history.Addresses {
		owners := l.record.owners(a)
		if len(owners) != 1 || owner != "" && owners[0] != owner {
			return nil
		}
		owner = owners[0]
	}
	for _, h := range l.Hosts {
		if h.Name() == owner {
			return h
		}
	}
	return nil
}

// Victim returns the host that a fault is to hit: the owner of everything, or with a
// pool, or with addresses that were added, that of the first address; nil if there is none.
func (l *Lab) Victim() *Host {
	if l.oneHost() {
		return l.Owner()
	}
	owners := l.record.owners(l.probed[0])
	for _, h := range l.Hosts {
		if len(owners) == 1 && h.Name() == owners[0] {
			return h
		}
	}
	return nil
}

// oneHost says that one host is to own all addresses.
func (l *Lab) oneHost() bool { return l.options.Pool == 0 && !l.options.Added }

// Served reports whether the client is served on every address by its one owner, as
// told by requests sent after since. That is one host for all addresses but those that
// were added, each of which has an owner of its own; those of a pool are spread evenly.
func (l *Lab) Served(since time.Time) bool {
	if l.options.Pool > 0 && !l.spread() || l.oneHost() && l.Owner() == nil {
		return false
	}
	for _, a := range l.probed {
		owners := l.record.owners(a)
		if len(owners) != 1 || !l.record.served(a, owners[0], since) {
			return false
		}
	}
	return true
}

// Settle waits until every address has one owner, the client is served, and every
// host whose berth runs stands for election, or is in the pool.
func (l *Lab) Settle(ctx context.Context) error {
	if err := l.Ready(ctx); err != nil {
		return err
	}
	since := time.Now()
	if err := l.Until(ctx, "one owner and service", func() bool { return l.Served(since) }); err != nil {
		return err
	}
	if l.options.Patroni {
		return l.replicated(ctx, l.Owner())
	}
	dirs, each := []string{prefix + "elections/"}, 1+l.options.Crowd
	switch {
	case l.options.Pool > 0:
		dirs = []string{nodesDir}
	case l.options.Added: // others may be added meanwhile
		dirs = nil
		for _, a := range l.probed {
			dirs = append(dirs, prefix+"elections/"+a.String()+"/")
		}
	}
	want := 0
	for _, h := range l.Hosts {
		if h.Running() {
			want += each
		}
	}
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond) // etcd is asked; it does not tell
	defer again.Stop()
	for {
		var problems []error
		for _, dir := range dirs {
			if candidates, err := l.candidates(ctx, dir); err != nil || len(candidates) != want {
				problems = append(problems, errors.Join(fmt.Errorf("%d candidates in %s, want %d", len(candidates), dir, want), err))
			}
		}
		if len(problems) == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for all to take part: %w", errors.Join(append(problems, context.Cause(ctx))...))
		}
	}
}

// A Candidate is a key of the election, the owner's first.
type Candidate struct {
	Key   []byte
	Lease string // as decimal number
}

// Candidates returns the members that stand for election of Instance, or of the first
// address that was added, or hold the first address of the pool, from etcd.
func (l *Lab) Candidates(ctx context.Context) ([]Candidate, error) {
	switch {
	case l.options.Pool > 0:
		return l.candidates(ctx, heldDir+l.probed[0].String())
	case l.options.Added:
		return l.candidates(ctx, prefix+"elections/"+l.probed[0].String()+"/")
	}
	return l.candidates(ctx, prefix+"elections/"+Instance+"/")
}

// candidates returns the keys that begin so.
func (l *Lab) candidates(ctx context.Context, begin string) ([]Candidate, error) {
	var found struct {
		KVs []Candidate `json:"kvs"`
	}
	err := l.Etcd.Call(ctx, "kv/range", map[string]any{
		"key": []byte(begin), "range_end": following(begin), "sort_order": "ASCEND", "sort_target": "CREATE",
	}, &found)
	return found.KVs, err
}

// following is the first key after all keys that begin so.
func following(begin string) []byte {
	end := []byte(begin)
	end[len(end)-1]++
	return end
}

// History returns what happened from begin to now.
func (l *Lab) History(begin time.Time) *History {
	h := l.record.since(begin)
	if l.options.Pool > 0 {
		h.Serving = l.serving()
	}
	return h
}

// Changes returns all changes of the addresses so far.
func (l *Lab) Changes() []Change {
	l.record.mu.Lock()
	defer l.record.mu.Unlock()
	return slices.Clone(l.record.history.Changes)
}

// Close ends everything.
func (l *Lab) Close() error {
	if l.Etcd != nil {
		l.Etcd.Close()
	}
	return l.Rig.Close()
}

// Build builds berth from this source tree.
func Build(dir string) (string, error) { return build(filepath.Join(dir, "berth"), nil) }
