package cloudsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ElasticIP is a floating IP at Exoscale: any number of instances of its zone
// can have it at once, and traffic is spread over them.
type ElasticIP struct {
	ID      string
	Network netip.Prefix // /32, or /96 for IPv6
	Zone    string
	Servers []string // UUIDs of the instances attached, in the order in which they were attached
	Managed bool     // it has a health check
}

// elasticIP is an ElasticIP with its servers before the last change, for reads that
// lag.
type elasticIP struct {
	ElasticIP
	was []string
}

// attached returns the servers of an elastic IP that a read shows. It is called with
// mu held.
func (e *elasticIP) attached(stale bool) []string {
	if stale {
		return e.was
	}
	return e.Servers
}

func (s *Sim) listElasticIPs(x *exchange, zone string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []json.RawMessage{}
	for i := range s.elastic {
		if s.elastic[i].Zone == zone {
			list = append(list, elasticIPJSON(x, &s.elastic[i]))
		}
	}
	s.shuffle(x, list)
	return say(http.StatusOK, map[string]any{"elastic-ips": list})
}

func (s *Sim) oneElasticIP(x *exchange, zone, id string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.elasticIndex(zone, id)
	if i < 0 {
		return exoMessage(http.StatusNotFound, "Elastic IP not found")
	}
	return say(http.StatusOK, elasticIPJSON(x, &s.elastic[i]))
}

// elasticIndex is called with mu held.
func (s *Sim) elasticIndex(zone, id string) int {
	return slices.IndexFunc(s.elastic, func(e elasticIP) bool { return e.ID == id && e.Zone == zone })
}

func elasticIPJSON(x *exchange, e *elasticIP) json.RawMessage {
	m := map[string]any{
		"id":            e.ID,
		"ip":            e.Network.Addr().String(),
		"cidr":          e.Network.String(),
		"addressfamily": "inet4",
		"description":   "made by the simulator",
		"labels":        map[string]string{},
	}
	if e.Network.Addr().Is6() {
		m["addressfamily"] = "inet6"
		if x.extra { // an unusual spelling
			m["ip"] = strings.ToUpper(e.Network.Addr().StringExpanded())
		}
	}
	if e.Managed {
		m["healthcheck"] = map[string]any{"mode": "tcp", "port": 80, "interval": 10, "timeout": 3, "strikes-ok": 2, "strikes-fail": 2}
	}
	return object(x, m, "id")
}

// hasAddress is the filter by address, with its faults if there are any. It is
// called with mu held.
func (s *Sim) hasAddress(x *exchange, srv Server, text string) bool {
	if x.filterIgnored {
		return true
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || (x.filterNo6 && addr.Is6()) {
		return false
	}
	for i := range s.elastic {
		e := &s.elastic[i]
		if e.Network.Addr() == addr && slices.Contains(e.attached(x.stale || x.filterLags), srv.UUID) {
			return true
		}
	}
	return slices.Contains(srv.Addresses, addr)
}

// changeElasticIP begins an attach or detach, which takes effect after
// OperationTime.
func (s *Sim) changeElasticIP(x *exchange, zone, id string, attach bool) answer {
	var in struct {
		Instance *struct {
			ID string `json:"id"`
		} `json:"instance"`
	}
	if err := json.Unmarshal(x.body, &in); err != nil || in.Instance == nil {
		return exoMessage(http.StatusBadRequest, "Invalid request body: instance is required")
	}
	s.mu.Lock()
	i := s.elasticIndex(zone, id)
	srv := s.server(in.Instance.ID)
	switch {
	case i < 0:
		s.mu.Unlock()
		return exoMessage(http.StatusNotFound, "Elastic IP not found")
	case srv == nil || srv.Region != zone:
		s.mu.Unlock()
		return exoMessage(http.StatusNotFound, "Instance not found")
	case attach && slices.Contains(s.elastic[i].Servers, srv.UUID) && !x.dry:
		s.mu.Unlock()
		return exoMessage(http.StatusConflict, "Instance is already attached to this Elastic IP")
	}
	op := &operation{
		id:    fmt.Sprintf("0be7a710-0000-4000-8000-%012d", len(s.operations)+1),
		state: "pending", reason: x.failure, due: time.Now().Add(s.operationTime), vanishes: x.vanishes,
		eip: i, server: srv.UUID, attach: attach, dry: x.dry, record: x.record,
	}
	s.operations = append(s.operations, op)
	s.mu.Unlock()
	if s.operationTime > 0 {
		// The data plane must not wait for the next request.
		time.AfterFunc(s.operationTime, s.settle)
	}
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	return say(http.StatusOK, s.operationJSON(x, op))
}

// attach gives an elastic IP to servers and runs the data plane, which has the worst
// case of traffic to several servers: all of it goes to the server that was attached
// first. The caller has the lock moving.
func (s *Sim) attach(i int, servers []string) {
	first := func(list []string) string {
		if len(list) == 0 {
			return ""
		}
		return list[0]
	}
	s.mu.Lock()
	e := &s.elastic[i]
	e.was, e.Servers = e.Servers, servers
	m := Move{Network: e.Network, From: first(e.was), To: first(servers), Servers: slices.Clone(servers), Time: time.Now()}
	m.NextHop = s.nextHop(FloatingIP{Network: e.Network, Server: m.To})
	f := s.onMove
	s.mu.Unlock()
	if f != nil {
		f(m)
	}
}

// ElasticIPs returns all elastic IPs as they are now.
func (s *Sim) ElasticIPs() []ElasticIP {
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []ElasticIP
	for _, e := range s.elastic {
		e.Servers = slices.Clone(e.Servers)
		list = append(list, e.ElasticIP)
	}
	return list
}

// Attach attaches an elastic IP to exactly these servers, as another client
// of the API would.
func (s *Sim) Attach(network netip.Prefix, serverUUIDs ...string) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.Lock()
	i := slices.IndexFunc(s.elastic, func(e elasticIP) bool { return e.Network == network })
	for _, id := range serverUUIDs {
		if s.server(id) == nil {
			s.mu.Unlock()
			return fmt.Errorf("attach %s: no server %q", network, id)
		}
	}
	s.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("attach %s: no such elastic IP", network)
	}
	s.attach(i, slices.Clone(serverUUIDs))
	return nil
}
