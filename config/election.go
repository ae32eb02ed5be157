package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/internal/section"
	"berth/vrrp"
)

// Election is the instances in whose elections `berth elect` takes part.
type Election struct {
	Interface   string   // of the instances that name none
	OnEtcdLoss  string   // Free, Keep or Claim
	WithoutEtcd string   // Wait or Exit
	Health      []Health // of all instances, beside those of the host
	Instances   []ElectionInstance
	Announce    Announce
}

// ElectionInstance is a set of addresses that have one owner.
type ElectionInstance struct {
	Name      string
	Key       string            // as written: the candidates stand at Key, a slash, and their lease; empty for the usual place
	Interface string            // to which the addresses are bound; empty: none, the instance has floating IPs alone
	Addresses []vrrp.FloatingIP // as /32 or /128 unless written with a length
	Health    []Health          // beside those of the election
}

// Names returns the names of the instances.
func (e *Election) Names() []string {
	var names []string
	for _, in := range e.Instances {
		names = append(names, in.Name)
	}
	return names
}

// Addresses returns the addresses of all instances.
func (e *Election) Addresses() []vrrp.FloatingIP {
	var all []vrrp.FloatingIP
	for _, in := range e.Instances {
		all = append(all, in.Addresses...)
	}
	return all
}

// Places returns the keys below which the candidates of some instances stand, by
// instance. The others have the usual place.
func (e *Election) Places() map[string]string {
	places := map[string]string{}
	for _, in := range e.Instances {
		if in.Key != "" {
			places[in.Name] = in.place()
		}
	}
	return places
}

// place returns the prefix of the keys of the candidates, where the instance has a key. A
// slash follows the key also where that ends in one, as in etcd's own election recipe
// (NewElection, https://pkg.go.dev/go.etcd.io/etcd/client/v3/concurrency): programs that
// use the recipe under the same name stand in the same queue.
func (in *ElectionInstance) place() string { return in.Key + "/" }

// onInterfaces returns the addresses that the election may bind to each interface.
func (e *Election) onInterfaces() map[string][]netip.Prefix {
	all := map[string][]netip.Prefix{}
	for _, in := range e.Instances {
		for _, ip := range in.Addresses {
			if in.Interface != "" {
				all[in.Interface] = append(all[in.Interface], ip.Prefix)
			}
		}
	}
	return all
}

// Announce is how often the owner of an address announces the address to its
// neighbours.
type Announce struct {
	Count    int           // times, after the host became the owner
	Interval time.Duration // between these
	Refresh  time.Duration // between all later ones
}

// The policies of an owner when etcd cannot be reached for longer than the lease lasts.
const (
	Free  = "release" // it unbinds the addresses before the lease ends
	Keep  = "keep"    // it stays the owner
	Claim = "claim"   // it stays the owner, and each healthy host becomes one that does not know of another
)

// The ways in which a host takes that etcd has given it no lease for longer than a lease
// lasts.
const (
	Wait = "wait" // it goes on asking
	Exit = "exit" // berth ends with an error
)

func defaultElection() Election {
	return Election{OnEtcdLoss: Free, WithoutEtcd: Wait, Announce: Announce{Count: 5, Interval: time.Second, Refresh: time.Minute}}
}

// fillElection reads the section, and returns the sections of its instances, for
// checkKeys. Provider, pool, follow and API must have been read.
func fillElection(top *section.Section, c *Config) (instances []*section.Section) {
	e := &c.Election
	s := top.Sub("election", section.Keys{
		"interface":    &e.Interface,
		"on-etcd-loss": &e.OnEtcdLoss,
		"without-etcd": &e.WithoutEtcd,
		"instances":    section.List,
		"announce":     section.Any,
		"health":       section.List,
	})
	s.Choice("on-etcd-loss", &e.OnEtcdLoss, e.OnEtcdLoss, Free, Keep, Claim)
	s.Choice("without-etcd", &e.WithoutEtcd, e.WithoutEtcd, Wait, Exit)
	if e.WithoutEtcd == Exit && e.OnEtcdLoss != Free && !s.Wrong("on-etcd-loss") {
		s.Refuse("without-etcd", "exit beside on-etcd-loss: "+e.OnEtcdLoss+", which goes on without etcd", "wait, or on-etcd-loss: release")
	}
	c.Follow.refuse(s, "on-etcd-loss", "without-etcd")
	checkInterface(s, e.Interface)
	fillAnnounce(s, &e.Announce)
	e.Health = fillHealth(s, c.HealthChecks())
	instances = fillInstances(s, c)
	misspelt := s.Node("instances") == nil && s.Given("instances")
	if c.Pool.Enabled && s.Given("health") && s.Empty("instances") && !misspelt {
		s.Refuse("health", "the checks of instances, of which there are none", "these below pool.health, or below health at the top of the file")
	}
	if !top.Given("election") {
		return instances
	}
	// An unknown provider is a problem already; its election may need no interface.
	unknown := top.Given("provider") && c.Provider == ""
	added := s.Empty("instances") && !misspelt && !c.Pool.Enabled && c.API.Listen != "" && !c.Follow.Decides()
	bare := len(e.Instances) == 0 && !c.Pool.Enabled || slices.ContainsFunc(e.Instances, func(in ElectionInstance) bool { return in.Interface == "" })
	if !s.Given("interface") && (added || bare && c.Pointing(false) == Nothing && !unknown) {
		s.Missing("interface", "the name of the network interface that gets the addresses, such as eth0")
	}
	if s.Empty("instances") && !c.Pool.Enabled && !added {
		s.Missing("instances", "some, such as [{name: api, addresses: [192.0.2.254]}]")
	}
	return instances
}

func fillAnnounce(s *section.Section, a *Announce) {
	sub := s.Sub("announce", section.Keys{
		"count":    &a.Count,
		"interval": section.Duration{To: &a.Interval},
		"refresh":  section.Duration{To: &a.Refresh},
	})
	if a.Count < 1 || a.Count > 100 {
		sub.Refuse("count", "", "a whole number from 1 to 100")
	}
}

func fillInstances(s *section.Section, c *Config) (items []*section.Section) {
	e := &c.Election
	names, seen := map[string]bool{}, map[netip.Addr]bool{}
	for i := range s.Len("instances") {
		var in ElectionInstance
		var list []string
		item := s.Item("instances", i, section.Keys{"name": &in.Name, "key": &in.Key, "interface": &in.Interface, "addresses": &list, "health": section.List})
		if !item.Given("name") {
			item.Missing("name", "a name such as api")
		} else if names[in.Name] {
			item.Refuse("name", "a name that another instance has", "a name of its own")
		} else if c.Pool.Enabled && in.Name == PoolInstance {
			item.Refuse("name", "the name that the pool has in status and log", "another name, or leave pool.enabled out")
		}
		if in.Name != "" {
			names[in.Name] = true
		}
		in.Addresses = addresses(item, "addresses", list)
		for _, ip := range in.Addresses {
			if seen[ip.Addr()] {
				item.Refuse("addresses", ip.Addr().String()+" a second time", "each address once")
			}
			seen[ip.Addr()] = true
		}
		if item.Empty("addresses") {
			item.Missing("addresses", "the addresses that have one owner, such as [192.0.2.254]")
		}
		if checkInterface(item, in.Interface); !item.Given("interface") {
			in.Interface = e.Interface
		}
		in.Health = fillHealth(item, c.HealthChecks())
		e.Instances, items = append(e.Instances, in), append(items, item)
	}
	return items
}

// checkKeys checks where in etcd the candidates of instances stand: no other key may be
// there. Etcd and the pool must have been read.
func checkKeys(items []*section.Section, c *Config) {
	type directory struct{ path, key string }
	reserved := []directory{{c.Etcd.Prefix, "etcd.prefix"}}
	if c.Pool.Enabled && !within(c.Pool.Prefix, c.Etcd.Prefix) {
		reserved = append(reserved, directory{c.Pool.Prefix, "pool.prefix"})
	}
	for i, in := range c.Election.Instances {
		// Both would have records of the same name.
		if _, err := netip.ParseAddr(in.Name); err == nil && c.Pool.Enabled && c.Pool.Prefix == c.Etcd.Prefix {
			items[i].Refuse("name", "an address, beside a pool below the same prefix", "another name, or a pool.prefix that is not etcd.prefix")
		}
		if in.Key == "" || items[i].Wrong("key") {
			continue
		}
		for _, d := range reserved {
			if within(in.place(), d.path) || within(d.path, in.place()) {
				items[i].Refuse("key", "a key that lies below "+d.key+", or the other way round", "a key of its own, such as /other/place, or leave the key out")
			}
		}
		for _, other := range c.Election.Instances[:i] {
			if other.Key != "" && (within(in.place(), other.place()) || within(other.place(), in.place())) {
				items[i].Refuse("key", "the key of instance "+other.Name+", or one that lies below it or above", "a key of its own")
			}
		}
	}
}

// within reports whether one directory in etcd is another, or lies below it.
func within(key, directory string) bool { return strings.HasPrefix(key, directory) }

// maxInterface is IFNAMSIZ without the final zero, see netdevice(7).
const maxInterface = 15

// checkInterface refuses a name that no network interface can have.
func checkInterface(s *section.Section, name string) {
	if len(name) > maxInterface || strings.ContainsAny(name, "/ ") {
		s.Refuse("interface", "", "the name of a network interface, such as eth0")
	}
}
