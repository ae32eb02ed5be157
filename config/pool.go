package config

import (
	"net/netip"
	"slices"
	"strings"

	"berth/internal/section"
)

// Pool is the addresses that etcd lists, which are spread over the members.
type Pool struct {
	Enabled   bool
	Prefix    string   // of all keys of the pool in etcd; ends in a slash
	Interface string   // to which the addresses are bound; empty: none, they are pointed at this host alone
	Weight    int      // of this member among the others, from 1 to MaxWeight
	Health    []Health // beside those of the host
}

// PoolInstance is the name under which status and log have the pool. No instance of an
// election can have it beside a pool.
const PoolInstance = "pool"

// MaxWeight is the highest weight of a member of a pool.
const MaxWeight = 1000

func defaultPool() Pool { return Pool{Weight: 1} }

// Elects reports whether the configuration has something to take part in: instances of
// an election, a pool, or addresses that the management API adds.
func (c *Config) Elects() bool {
	return len(c.Election.Instances) > 0 || c.Pool.Enabled || c.API.Listen != "" && c.Election.Interface != "" && !c.Follow.Decides()
}

// Adds reports whether addresses can be added to this member at run time: they are bound to
// the interface of the election, by what etcd elects. With a pool, its list is that of all
// such addresses.
func (c *Config) Adds() bool {
	return c.Elects() && c.Election.Interface != "" && !c.Pool.Enabled && !c.Follow.Decides()
}

// InElection returns the name in the election of what a person calls an instance, and
// whether there can be one: of the configuration, or an address, however it is written, where
// etcd has the list of these. Without instances every name can be one.
func (c *Config) InElection(instance string) (name string, known bool) {
	if slices.ContainsFunc(c.Election.Instances, func(in ElectionInstance) bool { return in.Name == instance }) {
		return instance, true
	}
	if a, err := netip.ParseAddr(instance); err == nil && c.Adds() {
		return a.Unmap().String(), true
	}
	return instance, len(c.Election.Instances) == 0
}

// OnInterfaces returns the addresses of the election on each interface, and the
// interfaces of the pool and of added addresses, which etcd lists.
func (c *Config) OnInterfaces() map[string][]netip.Prefix {
	all := c.Election.onInterfaces()
	if on := c.Election.Interface; c.Adds() {
		all[on] = append([]netip.Prefix{}, all[on]...)
	}
	if on := c.Pool.Interface; c.Pool.Enabled && on != "" {
		all[on] = append([]netip.Prefix{}, all[on]...)
	}
	return all
}

// Taken returns the addresses that stand in another section than the list of the pool,
// each with the name of that place. They are not served for the pool.
func (c *Config) Taken() map[netip.Addr]string {
	all := map[netip.Addr]string{}
	for _, in := range c.Election.Instances {
		for _, ip := range in.Addresses {
			all[ip.Addr()] = "election.instances: " + in.Name
		}
	}
	for _, ip := range c.ManagedAddresses {
		all[ip.Addr()] = "managed-addresses"
	}
	return all
}

// fillPool reads the section. completePool must follow, after the sections on which the
// pool depends were read.
func fillPool(top *section.Section, c *Config) *section.Section {
	p := &c.Pool
	s := top.Sub("pool", section.Keys{"enabled": &p.Enabled, "prefix": &p.Prefix, "interface": &p.Interface, "weight": &p.Weight, "health": section.List})
	p.Health = fillHealth(s, c.HealthChecks())
	if p.Weight < 1 || p.Weight > MaxWeight {
		s.Refuse("weight", "", "a whole number from 1 to 1000; a drained member has no addresses (berth pool drain)")
	}
	s.Path("prefix", p.Prefix, "/berth/pool/")
	checkInterface(s, p.Interface)
	return s
}

// completePool fills in what the pool has from the sections of the election and of etcd.
func completePool(top, s *section.Section, c *Config) {
	p := &c.Pool
	if p.Interface == "" {
		p.Interface = c.Election.Interface
	}
	switch {
	case p.Prefix == "":
		p.Prefix = c.Etcd.Prefix + "pool/"
	case !strings.HasSuffix(p.Prefix, "/"):
		p.Prefix += "/"
	}
	// The keys of an election and those of the pool must not be taken for each other.
	if below, within := strings.CutPrefix(p.Prefix, c.Etcd.Prefix); within && slices.Contains([]string{"elections", "members", "added"}, strings.SplitN(below, "/", 2)[0]) {
		s.Refuse("prefix", "a path below that of the elections", "a path of its own, such as "+c.Etcd.Prefix+"pool/, or leave the key out")
	}
	if !p.Enabled {
		return
	}
	unknown := top.Given("provider") && c.Provider == ""
	if p.Interface == "" && c.Pointing(false) == Nothing && !unknown && !s.Wrong("interface") {
		s.Missing("interface", "the name of the network interface that gets the addresses, such as eth0")
	}
}
