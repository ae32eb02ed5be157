package cloudsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hetznerPath is the path of the API of Hetzner Cloud in the simulator, where the
// vendor's /v1/ is that of cloudscale.ch.
const hetznerPath = "/hetzner/api/"

// hetznerPage is how many objects a page has at most, whatever the request says. It
// is 50 at the vendor and small in the simulator, so that a client that reads only
// the first page fails its tests.
const hetznerPage = 2

// Identifiers of Hetzner are integers. Those of floating IPs count from the first
// number, and those of servers from the second where a server's UUID is not an
// integer itself.
const (
	firstHetznerID       = 4711
	firstHetznerServerID = 1001
)

// assignment is an action that moves a floating IP when its time has come, or takes it
// away from its server.
type assignment struct {
	command  string // in the words of the API
	ip       int    // index into Sim.ips
	server   string // UUID, or empty
	state    string // in the words of the API
	failure  string // code with which it fails, or empty
	due      time.Time
	vanishes bool
	dry      bool
	record   *Request
}

// hetzner answers as the API of Hetzner Cloud does: floating IPs, their
// assignment as an action, and servers. Rate limit headers, labels and sorting are
// not simulated.
func (s *Sim) hetzner(x *exchange) answer {
	if !x.record.Token {
		return hetznerError(http.StatusUnauthorized, "unauthorized", "unable to authenticate")
	}
	s.settleAssignments()
	part := strings.Split(strings.TrimPrefix(x.r.URL.Path, hetznerPath), "/")
	get := x.r.Method == http.MethodGet
	switch {
	case get && len(part) == 1 && part[0] == "floating_ips":
		return s.hetznerList(x)
	case get && len(part) == 2 && part[0] == "servers":
		return s.hetznerServer(x, part[1])
	case get && len(part) == 2 && part[0] == "actions":
		return s.hetznerAction(x, part[1])
	case x.r.Method == http.MethodPost && len(part) == 4 && part[0] == "floating_ips" && part[2] == "actions" && part[3] == "assign":
		return s.assign(x, part[1])
	case x.r.Method == http.MethodPost && len(part) == 4 && part[0] == "floating_ips" && part[2] == "actions" && part[3] == "unassign":
		return s.act(x, "unassign_floating_ip", part[1], "")
	}
	return hetznerError(http.StatusNotFound, "not_found", "not found")
}

func hetznerError(status int, code, message string) answer {
	return say(status, map[string]any{"error": map[string]any{"code": code, "message": message, "details": nil}})
}

// hetznerList is one page of the floating IPs.
func (s *Sim) hetznerList(x *exchange) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	page, err := strconv.Atoi(x.r.URL.Query().Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	seen := s.seen(x)
	begin := min((page-1)*hetznerPage, len(seen))
	end := min(begin+hetznerPage, len(seen))
	list := []json.RawMessage{}
	for i := begin; i < end; i++ {
		list = append(list, s.hetznerIP(x, i, seen[i]))
	}
	s.shuffle(x, list)
	var next any
	if end < len(seen) {
		next = page + 1
	}
	return say(http.StatusOK, map[string]any{
		"floating_ips": list,
		"meta": map[string]any{"pagination": map[string]any{
			"page": page, "per_page": hetznerPage, "next_page": next, "total_entries": len(seen)}},
	})
}

// hetznerIP is called with mu held. The API writes a network without host bits.
func (s *Sim) hetznerIP(x *exchange, i int, ip FloatingIP) json.RawMessage {
	kind, text := "ipv6", ip.Network.String()
	if ip.Network.Addr().Is4() {
		kind, text = "ipv4", ip.Network.Addr().String()
	}
	var server any
	if ip.Server != "" {
		server = s.hetznerID(ip.Server)
	}
	return object(x, map[string]any{
		"id": firstHetznerID + i, "name": fmt.Sprintf("floating-ip-%d", i), "ip": text, "type": kind, "server": server,
		"blocked": false, "created": "2026-01-02T03:04:05+00:00", "description": "",
	}, "ip")
}

func (s *Sim) hetznerServer(x *exchange, id string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := strconv.ParseInt(id, 10, 64)
	srv := s.hetznerServerOf(n)
	if srv == nil || err != nil {
		return hetznerError(http.StatusNotFound, "not_found", "server not found")
	}
	return say(http.StatusOK, map[string]any{"server": object(x, map[string]any{"id": n, "name": srv.Name, "status": "running"}, "name")})
}

// assign begins an assignment, also to the server that has the floating IP.
func (s *Sim) assign(x *exchange, id string) answer {
	var in struct {
		Server *int64 `json:"server"`
	}
	if err := json.Unmarshal(x.body, &in); err != nil || in.Server == nil {
		return hetznerError(http.StatusUnprocessableEntity, "invalid_input", "invalid input in field 'server'")
	}
	s.mu.Lock()
	srv := s.hetznerServerOf(*in.Server)
	s.mu.Unlock()
	if srv == nil && s.hetznerIndex(id) >= 0 {
		return hetznerError(http.StatusNotFound, "not_found", "server not found")
	}
	server := ""
	if srv != nil {
		server = srv.UUID
	}
	return s.act(x, "assign_floating_ip", id, server)
}

// hetznerIndex returns where in Sim.ips a floating IP is, -1 for an id that none has.
// None is added or removed after New, so that no lock is needed.
func (s *Sim) hetznerIndex(id string) int {
	n, err := strconv.Atoi(id)
	if i := n - firstHetznerID; err == nil && i >= 0 && i < len(s.ips) {
		return i
	}
	return -1
}

// act begins an action by which a floating IP goes to a server, or to none if server is
// empty, which the API accepts of one that no server has, too.
func (s *Sim) act(x *exchange, command, id, server string) answer {
	i := s.hetznerIndex(id)
	if i < 0 {
		return hetznerError(http.StatusNotFound, "not_found", "floating IP not found")
	}
	s.mu.Lock()
	a := &assignment{command: command, ip: i, server: server, state: "running", failure: x.failure,
		due: time.Now().Add(s.operationTime), vanishes: x.vanishes, dry: x.dry, record: x.record}
	s.assignments = append(s.assignments, a)
	number := len(s.assignments)
	s.mu.Unlock()
	if s.operationTime > 0 {
		// The data plane must not wait for the next request.
		time.AfterFunc(s.operationTime, s.settleAssignments)
	}
	s.settleAssignments()
	return say(http.StatusCreated, map[string]any{"action": s.actionJSON(x, number, a)})
}

func (s *Sim) hetznerAction(x *exchange, id string) answer {
	n, err := strconv.Atoi(id)
	s.mu.Lock()
	found := err == nil && n >= 1 && n <= len(s.assignments) && !s.assignments[n-1].vanishes
	var a *assignment
	if found {
		a = s.assignments[n-1]
	}
	s.mu.Unlock()
	if !found {
		return hetznerError(http.StatusNotFound, "not_found", "action not found")
	}
	return say(http.StatusOK, map[string]any{"action": s.actionJSON(x, n, a)})
}

func (s *Sim) actionJSON(x *exchange, number int, a *assignment) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]any{"id": number, "command": a.command, "status": a.state, "progress": 0, "error": nil}
	switch a.state {
	case "success":
		m["progress"] = 100
	case "error":
		m["error"] = map[string]string{"code": a.failure, "message": "the action failed"}
	}
	return object(x, m, "id")
}

// settleAssignments finishes the actions whose time has come, in their order.
func (s *Sim) settleAssignments() {
	s.moving.Lock()
	defer s.moving.Unlock()
	for {
		s.mu.Lock()
		n := slices.IndexFunc(s.assignments, func(a *assignment) bool {
			return a.state == "running" && !time.Now().Before(a.due)
		})
		if n < 0 {
			s.mu.Unlock()
			return
		}
		a := s.assignments[n]
		a.state = "success"
		if a.failure != "" {
			a.state = "error"
		}
		moves := a.state == "success" && !a.dry
		s.mu.Unlock()
		if moves && s.move(a.ip, a.server, "") {
			s.mu.Lock()
			a.record.Applied = true
			s.mu.Unlock()
		}
	}
}

// hetznerMetadata answers as the metadata service does that servers find at
// 169.254.169.254: the id as plain text.
func (s *Sim) hetznerMetadata(x *exchange) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv := s.asking(x.r)
	if srv == nil || x.r.URL.Path != "/hetzner/v1/metadata/instance-id" {
		return answer{status: http.StatusNotFound, contentType: "text/plain", body: []byte("not found\n")}
	}
	return answer{status: http.StatusOK, contentType: "text/plain", body: strconv.AppendInt(nil, s.hetznerID(srv.UUID), 10)}
}

// hetznerID returns the id of a server of the account. It is called with mu held.
func (s *Sim) hetznerID(uuid string) int64 {
	if n, err := strconv.ParseInt(uuid, 10, 64); err == nil {
		return n
	}
	return firstHetznerServerID + int64(slices.IndexFunc(s.servers, func(srv Server) bool { return srv.UUID == uuid }))
}

// hetznerServerOf returns the server with an id, or nil. It is called with mu held.
func (s *Sim) hetznerServerOf(id int64) *Server {
	for i := range s.servers {
		if s.hetznerID(s.servers[i].UUID) == id {
			return &s.servers[i]
		}
	}
	return nil
}
