package cloudsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
)

// SecurityGroup is a security group at Exoscale. Groups belong to the organisation, and
// are the same in all zones. Their rules are not simulated.
type SecurityGroup struct {
	ID, Name string
}

// PrivateNetwork is a managed private network at Exoscale. A lease is an address that an
// instance has there; nothing but the network's own record tells it.
type PrivateNetwork struct {
	ID, Name string
	Zone     string
	Leases   []Lease
}

// Lease is an address of a server in a private network. A server without an address
// there has the zero Addr, as in a network without DHCP.
type Lease struct {
	Server  string // UUID
	Address netip.Addr
}

// grouped checks and adds the groups and private networks of an account.
func (s *Sim) grouped(c Config) error {
	for _, g := range c.SecurityGroups {
		if g.ID == "" || slices.ContainsFunc(s.groups, func(o SecurityGroup) bool { return o.ID == g.ID || o.Name == g.Name }) {
			return fmt.Errorf("add security group %q: id %q is empty, or id or name is taken", g.Name, g.ID)
		}
		s.groups = append(s.groups, g)
	}
	for _, srv := range s.servers {
		for _, id := range srv.Groups {
			if s.group(id) == nil {
				return fmt.Errorf("add server %q: no security group %q", srv.Name, id)
			}
		}
	}
	for _, n := range c.PrivateNetworks {
		for _, l := range n.Leases {
			if srv := s.server(l.Server); srv == nil || srv.Region != n.Zone {
				return fmt.Errorf("add private network %q: no server %q in zone %q", n.Name, l.Server, n.Zone)
			}
		}
		n.Leases = slices.Clone(n.Leases)
		s.networks = append(s.networks, n)
	}
	return nil
}

// group is called with mu held.
func (s *Sim) group(id string) *SecurityGroup {
	for i := range s.groups {
		if s.groups[i].ID == id {
			return &s.groups[i]
		}
	}
	return nil
}

// SetServer changes the state of a server ("" stands for running) and its security
// groups, as another client of the API would. A server that does not run stays attached
// to its elastic IPs, as the vendor documents no other effect of a stop.
func (s *Sim) SetServer(uuid, state string, groups ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv := s.server(uuid)
	if srv == nil {
		return fmt.Errorf("set server: no server %q", uuid)
	}
	for _, id := range groups {
		if s.group(id) == nil {
			return fmt.Errorf("set server %q: no security group %q", srv.Name, id)
		}
	}
	srv.State, srv.Groups = state, slices.Clone(groups)
	return nil
}

// listGroups answers GET /security-group, of which the vendor's SDK (egoscale v3) knows
// no pages.
func (s *Sim) listGroups(x *exchange) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []json.RawMessage{}
	for _, g := range s.groups {
		list = append(list, object(x, map[string]any{"id": g.ID, "name": g.Name, "description": "", "rules": []any{}}, "id"))
	}
	s.shuffle(x, list)
	return say(http.StatusOK, map[string]any{"security-groups": list})
}

// memberships adds what the records and the list of instances have both, according to
// the types Instance and ListInstancesResponseInstances of egoscale v3: security groups
// by id, and private networks without the addresses there. An instance without any lacks
// the field. It is called with mu held.
func (s *Sim) memberships(x *exchange, m map[string]any, srv Server) {
	groups := []map[string]string{}
	for _, id := range srv.Groups {
		groups = append(groups, map[string]string{"id": id})
	}
	if len(groups) > 0 && !x.ungrouped {
		m["security-groups"] = groups
	}
	networks := []map[string]string{}
	for _, n := range s.networks {
		if slices.ContainsFunc(n.Leases, func(l Lease) bool { return l.Server == srv.UUID }) {
			networks = append(networks, map[string]string{"id": n.ID, "mac-address": "0a:01:02:03:04:05"})
		}
	}
	if len(networks) > 0 {
		m["private-networks"] = networks
	}
}

// oneNetwork answers GET /private-network/ID.
func (s *Sim) oneNetwork(x *exchange, zone, id string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.networks, func(n PrivateNetwork) bool { return n.ID == id && n.Zone == zone })
	if i < 0 {
		return exoMessage(http.StatusNotFound, "Private network not found")
	}
	m := map[string]any{"id": id, "name": s.networks[i].Name, "vni": 4711}
	leases := []map[string]string{}
	for _, l := range s.networks[i].Leases {
		if l.Address.IsValid() {
			leases = append(leases, map[string]string{"instance-id": l.Server, "ip": l.Address.String()})
		}
	}
	if len(leases) > 0 {
		m["leases"] = leases
	}
	return say(http.StatusOK, object(x, m, "id"))
}
