package cloudsim

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// Config is the account that a Sim starts with.
type Config struct {
	// Token is the token that requests must have. Empty accepts any token, but not
	// a request without one.
	Token       string
	Servers     []Server
	FloatingIPs []FloatingIP
	Faults      Faults

	// Key and Secret are Exoscale's credentials. Without a secret any signature is
	// accepted, but not a request without one.
	Key, Secret string
	ElasticIPs  []ElasticIP
	// SecurityGroups and PrivateNetworks are Exoscale's.
	SecurityGroups  []SecurityGroup
	PrivateNetworks []PrivateNetwork
	// OperationTime is how long attaching and detaching take at Exoscale; with 0
	// the answer shows them finished.
	OperationTime time.Duration
	// ClockSkew is how far the simulator's clock is ahead.
	ClockSkew time.Duration

	// Unfriendly adds, by chance, faults that a real API may have (see habits). A
	// correct client works in spite of them; SetFaults does not change them.
	Unfriendly bool
	// Seed is that of every random decision; 0 means a new seed, which is logged.
	Seed uint64
	// Journal is told of the seed; nil means that nothing is.
	Journal *journal.Journal
}

// Server is a virtual machine of the account.
type Server struct {
	UUID string
	Name string
	// Region such as "lpg". Its only zone is the region's name with a 1.
	Region string
	// Addresses of its public interface. The first of a family is the next
	// hop of floating IPs of that family. The metadata service takes a client with
	// any of these source addresses for this server.
	Addresses []netip.Addr
	// Pool is the id of the instance pool that manages the server, or empty.
	Pool string
	// Groups are the ids of its security groups.
	Groups []string
	// State is in Exoscale's words, such as stopped; empty for running.
	State string
}

// FloatingIP is a floating IP of the account. At most one of Server and
// LoadBalancer is set.
type FloatingIP struct {
	Network      netip.Prefix
	Region       string // empty for a global floating IP, which any region can have
	Server       string // UUID of the server that has it, or empty
	LoadBalancer string // name of the load balancer that has it, or empty
}

// Move is a floating IP going from one holder to the next.
type Move struct {
	Network  netip.Prefix
	From, To string     // UUIDs of servers, empty for anything else
	NextHop  netip.Addr // of the new server; the zero Addr if it has no address of the family
	Servers  []string   // UUIDs of all servers to which an elastic IP is attached now
	Time     time.Time
}

// Sim is a simulated account. It is safe for concurrent use.
type Sim struct {
	operationTime time.Duration
	skew          time.Duration
	habits        Faults
	routes        []route

	// moving is held from before a move until its data plane has run, so that
	// routes change in the order in which the state did.
	moving sync.Mutex

	mu          sync.Mutex // guards all below
	token       string
	key         string
	secret      string
	elastic     []elasticIP
	operations  []*operation
	assignments []*assignment
	servers     []Server
	groups      []SecurityGroup
	networks    []PrivateNetwork
	ips         []FloatingIP
	before      []FloatingIP // the state before the last move, for stale reads
	faults      Faults
	chance      *mathrand.Rand
	history     []*Request
	gates       []*Gate
	onMove      func(Move)
	onDone      func(Request)
}

// route leads all requests below a path to the API that serves them.
type route struct {
	prefix   string
	metadata bool
	serve    func(*exchange) answer
	trusts   func(*exchange) bool // the credentials are right
}

// New returns a simulator of the account. The error names the mistake in an account
// that no provider could have.
func New(c Config) (*Sim, error) {
	s := &Sim{token: c.Token, key: c.Key, secret: c.Secret, operationTime: c.OperationTime, skew: c.ClockSkew}
	s.routes = []route{
		{"/v1/", false, s.cloudscale, s.authorised},
		{"/v2/", false, s.exoscale, s.signed},
		{"/openstack/", true, s.metadata, nil},
		{"/latest/", true, s.exoscaleMetadata, nil},
		{hetznerPath, false, s.hetzner, s.authorised},
		{"/hetzner/v1/", true, s.hetznerMetadata, nil},
	}
	if c.Unfriendly {
		s.habits = habits
	}
	for _, srv := range c.Servers {
		if srv.UUID == "" || s.server(srv.UUID) != nil {
			return nil, fmt.Errorf("add server %q: UUID %q is empty or taken", srv.Name, srv.UUID)
		}
		srv.Addresses, srv.Groups = slices.Clone(srv.Addresses), slices.Clone(srv.Groups)
		s.servers = append(s.servers, srv)
	}
	if err := s.grouped(c); err != nil {
		return nil, err
	}
	for _, ip := range c.FloatingIPs {
		switch {
		case !ip.Network.IsValid() || ip.Network != ip.Network.Masked():
			return nil, fmt.Errorf("add floating IP %s: not a network", ip.Network)
		case s.find(s.ips, ip.Network) >= 0:
			return nil, fmt.Errorf("add floating IP %s: already there", ip.Network)
		case ip.Server != "" && ip.LoadBalancer != "":
			return nil, fmt.Errorf("add floating IP %s: has both a server and a load balancer", ip.Network)
		case ip.Server != "" && s.server(ip.Server) == nil:
			return nil, fmt.Errorf("add floating IP %s: no server %q", ip.Network, ip.Server)
		}
		s.ips = append(s.ips, ip)
	}
	s.before = slices.Clone(s.ips)
	for _, e := range c.ElasticIPs {
		switch {
		case e.ID == "" || s.elasticIndex(e.Zone, e.ID) >= 0:
			return nil, fmt.Errorf("add elastic IP %s: id %q is empty or taken", e.Network, e.ID)
		case !e.Network.IsValid() || e.Network != e.Network.Masked():
			return nil, fmt.Errorf("add elastic IP %s: not a network", e.Network)
		}
		for _, id := range e.Servers {
			if srv := s.server(id); srv == nil || srv.Region != e.Zone {
				return nil, fmt.Errorf("add elastic IP %s: no server %q in zone %q", e.Network, id, e.Zone)
			}
		}
		e.Servers = slices.Clone(e.Servers)
		s.elastic = append(s.elastic, elasticIP{ElasticIP: e, was: e.Servers})
	}

	seed := c.Seed
	if seed == 0 {
		var b [8]byte
		rand.Read(b[:])
		seed = binary.LittleEndian.Uint64(b[:])
	}
	s.chance = mathrand.New(mathrand.NewPCG(seed, 0))
	if c.Journal != nil {
		c.Journal.Tell(started, zap.Uint64("seed", seed))
	}
	s.faults = slices.Clone(c.Faults)
	return s, nil
}

// Holder returns the UUID of the server that has the floating IP, or "" if no
// server has it or the floating IP does not exist.
func (s *Sim) Holder(network netip.Prefix) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(s.ips, network); i >= 0 {
		return s.ips[i].Server
	}
	return ""
}

// Holders returns the UUIDs of the servers that have the floating IP, of any cloud,
// that contains addr; nil if no floating IP contains it.
func (s *Sim) Holders(addr netip.Addr) []string {
	for _, e := range s.ElasticIPs() {
		if e.Network.Contains(addr) {
			return e.Servers
		}
	}
	for _, ip := range s.FloatingIPs() {
		if ip.Network.Contains(addr) && ip.Server != "" {
			return []string{ip.Server}
		}
	}
	return nil
}

// Give makes a server the only one that has the floating IP, of any cloud, that
// contains addr, as another client of the API would.
func (s *Sim) Give(addr netip.Addr, serverUUID string) error {
	for _, e := range s.ElasticIPs() {
		if e.Network.Contains(addr) {
			return s.Attach(e.Network, serverUUID)
		}
	}
	for _, ip := range s.FloatingIPs() {
		if ip.Network.Contains(addr) {
			return s.Assign(ip.Network, serverUUID)
		}
	}
	return fmt.Errorf("give %s: no such floating IP", addr)
}

// SetToken changes cloudscale's token, as a rotation does.
func (s *Sim) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetKey changes Exoscale's credentials, as a rotation does.
func (s *Sim) SetKey(key, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key, s.secret = key, secret
}

// FloatingIPs returns all floating IPs as they are now.
func (s *Sim) FloatingIPs() []FloatingIP {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ips)
}

// Assign points a floating IP at a server, as another client of the API would. The
// data plane has run when Assign returns.
func (s *Sim) Assign(network netip.Prefix, serverUUID string) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.Lock()
	i := s.find(s.ips, network)
	known := s.server(serverUUID) != nil
	s.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("assign %s: no such floating IP", network)
	}
	if !known {
		return fmt.Errorf("assign %s: no server %q", network, serverUUID)
	}
	s.move(i, serverUUID, "")
	return nil
}

// OnMove sets the data plane: f is called after each change of a holder and before
// the answer to the request that made the change, one call at a time, in order. f
// must not call Assign.
func (s *Sim) OnMove(f func(Move)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onMove = f
}

// move gives floating IP i to a server or a load balancer and runs the data plane.
// It returns whether the holder changed. The caller has the lock moving.
func (s *Sim) move(i int, server, loadBalancer string) bool {
	s.mu.Lock()
	old := s.ips[i]
	if old.Server == server && old.LoadBalancer == loadBalancer {
		s.mu.Unlock()
		return false
	}
	s.before = slices.Clone(s.ips)
	s.ips[i].Server, s.ips[i].LoadBalancer = server, loadBalancer
	m := Move{Network: old.Network, From: old.Server, To: server, NextHop: s.nextHop(s.ips[i]), Time: time.Now()}
	f := s.onMove
	s.mu.Unlock()
	if f != nil {
		f(m)
	}
	return true
}

// server, find and nextHop are called with mu held.
func (s *Sim) server(uuid string) *Server {
	for i := range s.servers {
		if s.servers[i].UUID == uuid {
			return &s.servers[i]
		}
	}
	return nil
}

func (s *Sim) find(ips []FloatingIP, network netip.Prefix) int {
	return slices.IndexFunc(ips, func(ip FloatingIP) bool { return ip.Network == network })
}

func (s *Sim) nextHop(ip FloatingIP) netip.Addr {
	if srv := s.server(ip.Server); srv != nil {
		for _, a := range srv.Addresses {
			if a.Is4() == ip.Network.Addr().Is4() {
				return a
			}
		}
	}
	return netip.Addr{}
}
