package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"berth/internal/cloudsim"
	"berth/internal/testnet"
)

// Token is the account's secret; it is long and odd so that a search for it in
// any output finds nothing else.
const Token = "LABTOKENb7c1f0e2d93a4856"

// The floating IPs of the account. IPv6c lies in a network of its own; IPv6n is
// an address of the floating network Net6.
var (
	IPv4a = netip.MustParseAddr("198.51.100.10")
	IPv4b = netip.MustParseAddr("198.51.100.11")
	IPv6n = netip.MustParseAddr("2001:db8:f1::10")
	IPv6c = netip.MustParseAddr("2001:db8:f2::10")
	Net6  = netip.MustParsePrefix("2001:db8:f1::/56")
)

// Where things are.
const (
	Endpoint     = "http://" + apiAddr
	apiAddr      = "10.77.0.1:8080"
	metadataAddr = "169.254.169.254"
	Link         = "eth0" // every node's only cable but the router's
)

// A Lab is the miniature cloud. Its methods are safe for concurrent use.
type Lab struct {
	testnet.Rig

	Client *testnet.Node
	Router *testnet.Node
	Hosts  []*Host
	Sim    *cloudsim.Sim
	API    *API

	root string      // of the module
	tls  *tls.Config // of the API, where that is Exoscale's

	mu       sync.Mutex
	bindings []Binding
	moves    []cloudsim.Move
	routing  []error
}

// A Binding is a floating IP coming to a host's interface, or leaving it.
type Binding struct {
	Time    time.Time
	Host    *Host
	Address netip.Addr
	Bound   bool
}

// Programs are what a lab needs to have installed.
var Programs = []string{"keepalived"}

// Options are what differs between labs.
type Options struct {
	Binary string // the berth to use
	Hosts  int    // how many, two at least
	// Unfriendly gives the API bad habits, by chances that follow from Seed.
	Unfriendly bool
	Seed       uint64
	// Exoscale makes the account one of Exoscale, with ElasticIP and no other address.
	Exoscale bool
}

// New builds a lab of hosts, on which nothing runs yet. Close must be called.
func New(o Options) (*Lab, error) {
	l := &Lab{}
	if err := l.build(o); err != nil {
		return nil, errors.Join(fmt.Errorf("build lab: %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) build(o Options) (err error) {
	if l.root, err = Root(); err != nil {
		return err
	}
	if l.Client, err = l.Node("client"); err != nil {
		return err
	}
	if l.Router, err = l.Node("router"); err != nil {
		return err
	}
	if err := l.segment(); err != nil {
		return err
	}
	var ports []string
	for i := range max(o.Hosts, 2) {
		h, err := l.host(i+1, o.Binary)
		if err != nil {
			return err
		}
		ports = append(ports, h.port)
		l.Hosts = append(l.Hosts, h)
	}
	for _, p := range ports {
		if err := l.Router.Plug("br0", p); err != nil {
			return err
		}
	}
	if err := l.cloud(o); err != nil {
		return err
	}
	return nil
}

// segment makes the router's two sides: the client's and the hosts'.
func (l *Lab) segment() error {
	r := l.Router
	if err := testnet.Cable(l.Client, Link, r, "client0"); err != nil {
		return err
	}
	if err := errors.Join(l.Client.Up(Link), r.Up("client0"), r.Bridge("br0")); err != nil {
		return err
	}
	for _, a := range []struct {
		node *testnet.Node
		link string
		cidr string
	}{
		{l.Client, Link, "192.0.2.2/24"},
		{l.Client, Link, "2001:db8:c::2/64"},
		{r, "client0", "192.0.2.1/24"},
		{r, "client0", "2001:db8:c::1/64"},
		{r, "br0", "10.77.0.1/24"},
		{r, "br0", "2001:db8:77::1/64"},
		{r, "lo", metadataAddr + "/32"},
	} {
		if err := a.node.AddAddress(a.link, netip.MustParsePrefix(a.cidr)); err != nil {
			return err
		}
	}
	return errors.Join(
		r.Sysctl("net/ipv4/ip_forward", "1"),
		r.Sysctl("net/ipv6/conf/all/forwarding", "1"),
		gateway(l.Client, "192.0.2.1", "2001:db8:c::1"),
	)
}

func gateway(n *testnet.Node, via4, via6 string) error {
	return errors.Join(
		n.SetRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(via4)),
		n.SetRoute(netip.MustParsePrefix("::/0"), netip.MustParseAddr(via6)),
	)
}

// cloud makes the account and serves its API.
func (l *Lab) cloud(o Options) (err error) {
	account := cloudsim.Config{Token: Token, Unfriendly: o.Unfriendly, Seed: o.Seed}
	for _, h := range l.Hosts {
		account.Servers = append(account.Servers, cloudsim.Server{
			UUID: h.UUID, Name: h.Name, Region: "lpg", Addresses: []netip.Addr{h.Addr4, h.Addr6},
		})
	}
	for _, ip := range []netip.Addr{IPv4a, IPv4b, IPv6n, IPv6c} {
		account.FloatingIPs = append(account.FloatingIPs, cloudsim.FloatingIP{Network: Network(ip), Region: "lpg"})
	}
	if o.Exoscale {
		if err := l.exoscale(&account); err != nil {
			return err
		}
	}
	if l.Sim, err = cloudsim.New(account); err != nil {
		return err
	}
	l.Sim.OnMove(l.route)
	l.Sim.OnDone(func(cloudsim.Request) { l.Bell().Ring() })
	l.API = &API{lab: l}
	l.OnClose(l.API.Down)
	return l.API.Up()
}

// route is the data plane: the router sends the floating IP to its new holder.
func (l *Lab) route(m cloudsim.Move) {
	var err error
	if m.NextHop.IsValid() {
		err = l.Router.SetRoute(m.Network, m.NextHop)
	} else {
		err = l.Router.RemoveRoute(m.Network)
	}
	l.mu.Lock()
	l.moves = append(l.moves, m)
	if err != nil {
		l.routing = append(l.routing, err)
	}
	l.mu.Unlock()
	l.Bell().Ring()
}

// Network returns the provider's object that an address of the lab belongs to.
func Network(ip netip.Addr) netip.Prefix {
	if Net6.Contains(ip) {
		return Net6
	}
	return netip.PrefixFrom(ip, ip.BitLen())
}

// Assign points a floating IP at a host without berth, as an operator does in the
// provider's console.
func (l *Lab) Assign(ip netip.Addr, h *Host) error { return l.Sim.Assign(Network(ip), h.UUID) }

// Holder returns the host that has the floating IP at the provider, nil if
// none has.
func (l *Lab) Holder(ip netip.Addr) *Host {
	uuid := l.Sim.Holder(Network(ip))
	for _, h := range l.Hosts {
		if h.UUID == uuid {
			return h
		}
	}
	return nil
}

// Moves returns all moves so far, in order.
func (l *Lab) Moves() []cloudsim.Move {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.moves)
}

// Bindings returns how the floating IPs came to the hosts' interfaces and left
// them, as keepalived does and the kernel reports it.
func (l *Lab) Bindings() []Binding {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.bindings)
}

// Requests returns what a host has asked of the API since a moment.
func (l *Lab) Requests(h *Host, since time.Time) []cloudsim.Request {
	return slices.DeleteFunc(l.Sim.History(), func(r cloudsim.Request) bool {
		from, err := netip.ParseAddrPort(r.Remote)
		return err != nil || from.Addr().Unmap() != h.Addr4 || !r.Time.After(since)
	})
}

// Close ends everything. Its error includes those of the data plane, which are
// reported nowhere else.
func (l *Lab) Close() error {
	l.mu.Lock()
	errs := l.routing
	l.mu.Unlock()
	return errors.Join(errors.Join(errs...), l.Rig.Close())
}

// Root finds the directory of the module from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find go.mod: run it inside berth's source tree")
		}
		dir = parent
	}
}

// uuid and address number the servers.
func uuid(i int) string {
	return "00000000-1111-4222-8333-" + strings.Repeat("0", 11) + strconv.Itoa(i)
}

func address(i int) (v4, v6 netip.Prefix) {
	return netip.MustParsePrefix(fmt.Sprintf("10.77.0.1%d/24", i)), netip.MustParsePrefix(fmt.Sprintf("2001:db8:77::1%d/64", i))
}
