package cloudsim

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"berth/internal/journal"
)

// RunOptions are those of a simulator that a person starts. Every field but Out has
// a default.
type RunOptions struct {
	Listen      string       // loopback address and port; default 127.0.0.1:8080
	Token       string       // default "simulated-token"
	Servers     []Server     // default: lb1 and lb2
	FloatingIPs []FloatingIP // default: one IPv4 address, one IPv6 network, both at lb2
	ElasticIPs  []ElasticIP  // default: the same at Exoscale, with other addresses
	// SecurityGroups are those at Exoscale; default: "lb", which has both servers.
	SecurityGroups []SecurityGroup
	Faults         Faults
	Unfriendly     bool // see Config
	Seed           uint64
	Journal        *journal.Journal // nil means none
	Out            io.Writer        // for a berth configuration, then a line for each request
}

// The default account of Run. RFC 5737 and RFC 3849 reserve its addresses for
// documentation.
var (
	defaultGroups  = []SecurityGroup{{ID: "5ec00000-0000-4000-8000-000000000001", Name: "lb"}}
	defaultServers = []Server{
		{UUID: "11111111-1111-4111-8111-111111111111", Name: "lb1", Region: "lpg", Addresses: []netip.Addr{
			netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("2001:db8:100::11")}, Groups: []string{defaultGroups[0].ID}},
		{UUID: "22222222-2222-4222-8222-222222222222", Name: "lb2", Region: "lpg", Addresses: []netip.Addr{
			netip.MustParseAddr("198.51.100.12"), netip.MustParseAddr("2001:db8:100::12")}, Groups: []string{defaultGroups[0].ID}},
	}
	defaultFloatingIPs = []FloatingIP{
		{Network: netip.MustParsePrefix("192.0.2.10/32"), Region: "lpg", Server: defaultServers[1].UUID},
		{Network: netip.MustParsePrefix("2001:db8:1::/56"), Region: "lpg", Server: defaultServers[1].UUID},
	}
)

// exoscaleKey is the key whose secret is the token.
const exoscaleKey = "simulated-key"

// exoscaleOperation is how long attaching and detaching take at Exoscale.
const exoscaleOperation = 500 * time.Millisecond

var defaultElasticIPs = []ElasticIP{
	{ID: "e0000000-0000-4000-8000-000000000004", Network: netip.MustParsePrefix("192.0.2.20/32"), Zone: "lpg", Servers: []string{defaultServers[1].UUID}},
	{ID: "e0000000-0000-4000-8000-000000000006", Network: netip.MustParsePrefix("2001:db8:2::/96"), Zone: "lpg", Servers: []string{defaultServers[1].UUID}},
}

// Run serves an account on loopback until ctx ends. It writes to Out how to use the
// account, and a line for each request.
func Run(ctx context.Context, o RunOptions) error {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:8080"
	}
	if o.Token == "" {
		o.Token = "simulated-token"
	}
	if len(o.Servers) == 0 {
		o.Servers, o.SecurityGroups = defaultServers, defaultGroups
		if len(o.FloatingIPs) == 0 {
			o.FloatingIPs = defaultFloatingIPs
		}
		if len(o.ElasticIPs) == 0 {
			o.ElasticIPs = defaultElasticIPs
		}
	}
	s, err := New(Config{Token: o.Token, Servers: o.Servers, FloatingIPs: o.FloatingIPs,
		Key: exoscaleKey, Secret: o.Token, ElasticIPs: o.ElasticIPs, SecurityGroups: o.SecurityGroups, OperationTime: exoscaleOperation,
		Faults: o.Faults, Unfriendly: o.Unfriendly, Seed: o.Seed, Journal: o.Journal})
	if err != nil {
		return err
	}
	l, err := listenLoopback(o.Listen)
	if err != nil {
		return err
	}
	var mu sync.Mutex // one line at a time
	say := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		io.WriteString(o.Out, text) // the simulator goes on without a reader
	}
	say(o.introduction("http://" + l.Addr().String()))
	s.OnDone(func(r Request) { say(requestLine(r)) })
	s.OnMove(func(m Move) { say(s.moveLine(m)) })
	return serve(ctx, l, s)
}

// introduction returns the first text on Out, which is a configuration of berth.
func (o RunOptions) introduction(url string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# cloudscale simulator at %s; rule it with: curl %s/_sim/\n", url, url)
	for _, srv := range o.Servers {
		fmt.Fprintf(&b, "# server %s  %s\n", srv.UUID, srv.Name)
	}
	fmt.Fprintf(&b, "provider: cloudscale\ncloudscale:\n  endpoint: %s/\n  token: %q\n", url, o.Token)
	if len(o.Servers) > 0 {
		fmt.Fprintf(&b, "  server-uuid: %s\n", o.Servers[0].UUID)
	}
	if len(o.FloatingIPs) > 0 {
		fmt.Fprintf(&b, "managed-addresses:\n")
	}
	for _, ip := range o.FloatingIPs {
		fmt.Fprintf(&b, "  - %q\n", netip.PrefixFrom(ip.usable(), ip.Network.Addr().BitLen()))
	}
	if len(o.FloatingIPs) > 0 && len(o.Servers) > 0 {
		fmt.Fprintf(&b, "# or, with the same addresses:\n# provider: hetzner\n# hetzner: {endpoint: %s%s, token: %q, server-id: %d}\n",
			url, strings.TrimSuffix(hetznerPath, "/"), o.Token, firstHetznerServerID)
	}
	if len(o.ElasticIPs) > 0 && len(o.Servers) > 0 {
		fmt.Fprintf(&b, "# or, in place of the above:\n# provider: exoscale\n# exoscale: {endpoint: %s/v2, key: %s, secret: %q, instance-id: %s}\n# managed-addresses:\n",
			url, exoscaleKey, o.Token, o.Servers[0].UUID)
	}
	for _, e := range o.ElasticIPs {
		usable := FloatingIP{Network: e.Network}.usable()
		fmt.Fprintf(&b, "#   - %q\n", netip.PrefixFrom(usable, usable.BitLen()))
	}
	fmt.Fprintf(&b, "# --- requests ---\n")
	return b.String()
}

// usable returns the address itself, or the first address of a network.
func (f FloatingIP) usable() netip.Addr {
	if f.Network.IsSingleIP() {
		return f.Network.Addr()
	}
	return f.Network.Addr().Next()
}

func requestLine(r Request) string {
	status := "no answer"
	if r.Status != 0 {
		status = fmt.Sprint(r.Status)
	}
	line := fmt.Sprintf("%s %s %s: %s after %d ms", r.Time.Format("15:04:05.000"), r.Method, r.Path, status, r.Done.Sub(r.Time).Milliseconds())
	if r.Fault != "" {
		line += fmt.Sprintf(" (fault: %s)", r.Fault)
	}
	return line + "\n"
}

func (s *Sim) moveLine(m Move) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := func(uuid string) string {
		if srv := s.server(uuid); srv != nil {
			return srv.Name
		}
		return "no server"
	}
	if len(m.Servers) > 0 {
		var names []string
		for _, id := range m.Servers {
			names = append(names, name(id))
		}
		return fmt.Sprintf("%s elastic IP %s is attached to %s\n", m.Time.Format("15:04:05.000"), m.Network, strings.Join(names, " and "))
	}
	return fmt.Sprintf("%s floating IP %s moves from %s to %s\n", m.Time.Format("15:04:05.000"), m.Network, name(m.From), name(m.To))
}
