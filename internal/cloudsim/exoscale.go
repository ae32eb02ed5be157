package cloudsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ElasticIP is a floating IP at Exoscale: any number of instances of its zone
// can have it at once, and traffic is spread over them.
type ElasticIP struct {
	ID      string
	Network netip.Prefix // /32, or /96 for IPv6
	Zone    string
	Servers []string // UUIDs of the instances attached, the longest attached first
	Managed bool     // it has a health check of its own
}

// elasticIP is an ElasticIP with what it was before its last change, for reads
// that lag.
type elasticIP struct {
	ElasticIP
	was []string
}

// operation is an attach or detach under way or over.
type operation struct {
	id, state, reason string
	due               time.Time
	eip               int
	server            string
	attach, dry       bool
	vanishes          bool
	record            *Request
}

// Reads in lists never say who has an elastic IP; the filter by address and the
// records of single instances do.
func (s *Sim) exoscale(x *exchange) answer {
	zone := s.zone(x.r)
	part := strings.Split(strings.TrimPrefix(x.r.URL.Path, "/v2/"), "/")
	if len(part) == 1 && part[0] == "zone" && x.r.Method == http.MethodGet {
		return s.zones() // the only call that needs no signature
	}
	switch {
	case x.r.Header.Get("Authorization") == "":
		return exoMessage(http.StatusUnauthorized, "Missing authorization")
	case !x.record.Token:
		return exoMessage(http.StatusForbidden, "Invalid request signature")
	}
	s.settle()
	what := x.r.Method + " " + part[0]
	switch {
	case len(part) == 1 && what == "GET elastic-ip":
		return s.listElasticIPs(x, zone)
	case len(part) == 1 && what == "GET instance":
		return s.listInstances(x, zone)
	case len(part) == 2 && what == "GET elastic-ip":
		return s.oneElasticIP(x, zone, part[1])
	case len(part) == 2 && what == "GET instance":
		return s.oneInstance(x, zone, part[1])
	case len(part) == 2 && what == "GET operation":
		return s.oneOperation(x, part[1])
	case len(part) == 2 && what == "PUT elastic-ip":
		id, verb, _ := strings.Cut(part[1], ":")
		if verb == "attach" || verb == "detach" {
			return s.changeElasticIP(x, zone, id, verb == "attach")
		}
	}
	return exoMessage(http.StatusNotFound, "Not Found")
}

func exoMessage(status int, text string) answer {
	return say(status, map[string]string{"message": text})
}

// zone is the one that a request is for: that of the host name, as in
// api-ch-gva-2.exoscale.com, else that of the first server.
func (s *Sim) zone(r *http.Request) string {
	if z, ok := strings.CutPrefix(r.Host, "api-"); ok {
		z, _, _ = strings.Cut(z, ".")
		return z
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.servers) == 0 {
		return ""
	}
	return s.servers[0].Region
}

func (s *Sim) zones() answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []map[string]string{}
	seen := map[string]bool{}
	for _, srv := range s.servers {
		if !seen[srv.Region] {
			seen[srv.Region] = true
			list = append(list, map[string]string{"name": srv.Region, "api-endpoint": "https://api-" + srv.Region + ".exoscale.com/v2"})
		}
	}
	return say(http.StatusOK, map[string]any{"zones": list})
}

// signed tells whether a request bears a signature made with the account's
// secret that has not expired by the simulator's clock. What is signed: method
// and escaped path, body, the values of the signed query arguments in the order
// of their names, an empty line for headers, and the time of expiry. It is called
// with mu held.
func (s *Sim) signed(x *exchange) bool {
	fields, ok := strings.CutPrefix(x.r.Header.Get("Authorization"), "EXO2-HMAC-SHA256 ")
	if !ok {
		return false
	}
	field := map[string]string{}
	for f := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(f, "=")
		field[name] = value
	}
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return false
	}
	var values strings.Builder
	names := []string{}
	if field["signed-query-args"] != "" {
		names = strings.Split(field["signed-query-args"], ";")
	}
	if !slices.IsSorted(names) {
		return false
	}
	for _, name := range names {
		values.WriteString(query.Get(name))
	}
	for name := range query {
		if !slices.Contains(names, name) {
			return false // an argument that anybody could have added
		}
	}
	expires, err := strconv.ParseInt(field["expires"], 10, 64)
	if err != nil || s.clock().Unix() > expires {
		return false
	}
	if s.secret == "" {
		return field["signature"] != ""
	}
	signature, err := base64.StdEncoding.DecodeString(field["signature"])
	if err != nil || field["credential"] != s.key {
		return false
	}
	mac := hmac.New(sha256.New, []byte(s.secret))
	fmt.Fprintf(mac, "%s %s\n%s\n%s\n\n%s", x.r.Method, x.r.URL.EscapedPath(), x.body, values.String(), field["expires"])
	return hmac.Equal(mac.Sum(nil), signature)
}

// clock is the time that the simulator believes in.
func (s *Sim) clock() time.Time { return time.Now().Add(s.skew) }

// attached is who has an elastic IP as a read shows it. It is called with mu
// held.
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
		if x.extra { // spelled as nobody else does
			m["ip"] = strings.ToUpper(e.Network.Addr().StringExpanded())
		}
	}
	if e.Managed {
		m["healthcheck"] = map[string]any{"mode": "tcp", "port": 80, "interval": 10, "timeout": 3, "strikes-ok": 2, "strikes-fail": 2}
	}
	return object(x, m, "id")
}

func (s *Sim) listInstances(x *exchange, zone string) answer {
	query := x.r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []json.RawMessage{}
	for _, srv := range s.servers {
		if srv.Region != zone || (query.Has("ip-address") && !s.hasAddress(x, srv, query.Get("ip-address"))) {
			continue
		}
		list = append(list, object(x, instanceFields(srv), "id"))
	}
	s.shuffle(x, list)
	return say(http.StatusOK, map[string]any{"instances": list})
}

// hasAddress is the filter by address, with its possible faults. It is called
// with mu held.
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

func instanceFields(srv Server) map[string]any {
	m := map[string]any{
		"id":         srv.UUID,
		"name":       srv.Name,
		"state":      "running",
		"created-at": "2026-01-02T03:04:05Z",
		"labels":     map[string]string{},
	}
	for _, a := range srv.Addresses {
		if a.Is4() {
			m["public-ip"] = a.String()
		} else {
			m["ipv6-address"] = a.String()
		}
	}
	if srv.Pool != "" {
		m["manager"] = map[string]string{"id": srv.Pool, "type": "instance-pool"}
	}
	return m
}

func (s *Sim) oneInstance(x *exchange, zone, id string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv := s.server(id)
	if srv == nil || srv.Region != zone {
		return exoMessage(http.StatusNotFound, "Instance not found")
	}
	m := instanceFields(*srv)
	ips := []json.RawMessage{}
	for i := range s.elastic {
		if e := &s.elastic[i]; slices.Contains(e.attached(x.stale), id) {
			ips = append(ips, object(x, map[string]any{"id": e.ID, "ip": e.Network.Addr().String()}, "id"))
		}
	}
	if len(ips) > 0 {
		m["elastic-ips"] = ips
	}
	return say(http.StatusOK, object(x, m, "name"))
}

func (s *Sim) oneOperation(x *exchange, id string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, op := range s.operations {
		if op.id == id && !op.vanishes {
			return say(http.StatusOK, s.operationJSON(x, op))
		}
	}
	return exoMessage(http.StatusNotFound, "Operation not found")
}

// operationJSON is called with mu held.
func (s *Sim) operationJSON(x *exchange, op *operation) json.RawMessage {
	eip := s.elastic[op.eip].ID
	m := map[string]any{"id": op.id, "state": op.state,
		"reference": map[string]string{"id": eip, "link": "/v2/elastic-ip/" + eip, "command": "get-elastic-ip"}}
	if op.state == "failure" {
		m["reason"], m["message"] = op.reason, "simulated: the operation failed"
	}
	return object(x, m, "id")
}

// changeElasticIP begins an attach or detach. It takes effect when its time is
// over, which is at once if OperationTime is 0.
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

// settle ends the operations whose time is over, in their order.
func (s *Sim) settle() {
	s.moving.Lock()
	defer s.moving.Unlock()
	for {
		s.mu.Lock()
		var next *operation
		for _, op := range s.operations {
			if op.state == "pending" && !time.Now().Before(op.due) && (next == nil || op.due.Before(next.due)) {
				next = op
			}
		}
		if next == nil {
			s.mu.Unlock()
			return
		}
		var servers []string
		for _, id := range s.elastic[next.eip].Servers {
			if id != next.server {
				servers = append(servers, id)
			}
		}
		there := len(servers) < len(s.elastic[next.eip].Servers)
		if next.attach {
			servers = append(servers, next.server)
		} else if !there && next.reason == "" && !next.dry {
			next.reason = "not-found"
		}
		next.state = "success"
		if next.reason != "" {
			next.state = "failure"
		}
		changes := next.state == "success" && !next.dry && there != next.attach
		if changes {
			next.record.Applied = true
		}
		s.mu.Unlock()
		if changes {
			s.attach(next.eip, servers)
		}
	}
}

// attach gives an elastic IP to servers and runs the data plane, which shows the
// worst case of traffic that is spread: all of it goes to the longest attached.
// The caller holds moving.
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

// Attach attaches an elastic IP to exactly these servers, as if somebody else had
// done so through the API.
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

// exoscaleMetadata answers as Exoscale's metadata service does: one value per
// path, as text.
func (s *Sim) exoscaleMetadata(x *exchange) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv := s.asking(x.r)
	text := ""
	if srv != nil {
		switch strings.TrimPrefix(x.r.URL.Path, "/latest/meta-data/") {
		case "instance-id", "vm-id":
			text = srv.UUID
		case "availability-zone":
			text = srv.Region
		case "local-hostname":
			text = srv.Name
		}
	}
	if text == "" {
		return answer{status: http.StatusNotFound, contentType: "text/html", body: []byte("404 Not Found\n")}
	}
	return answer{status: http.StatusOK, contentType: "text/plain", body: []byte(text)}
}
