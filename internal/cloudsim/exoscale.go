package cloudsim

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lists never show which instances have an elastic IP; the filter by address and
// the records of single instances do.
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
	case len(part) == 1 && what == "GET security-group":
		return s.listGroups(x)
	case len(part) == 2 && what == "GET private-network":
		return s.oneNetwork(x, zone, part[1])
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

// zone returns the zone of a request: that of the host name, as in
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

// signed reports whether a request has a signature made with the account's secret
// that has not expired by the simulator's clock. The signature covers method and
// escaped path, body, the values of the signed query arguments in the order of their
// names, an empty line for headers, and the time of expiry. signed is called with mu
// held.
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
			return false // an argument without a signature
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

// clock returns the time by the simulator's clock, see Config.ClockSkew.
func (s *Sim) clock() time.Time { return time.Now().Add(s.skew) }

func (s *Sim) listInstances(x *exchange, zone string) answer {
	query := x.r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []json.RawMessage{}
	for _, srv := range s.servers {
		if srv.Region != zone || (query.Has("ip-address") && !s.hasAddress(x, srv, query.Get("ip-address"))) {
			continue
		}
		m := instanceFields(srv)
		s.memberships(x, m, srv)
		list = append(list, object(x, m, "id"))
	}
	s.shuffle(x, list)
	return say(http.StatusOK, map[string]any{"instances": list})
}

func instanceFields(srv Server) map[string]any {
	m := map[string]any{
		"id":         srv.UUID,
		"name":       srv.Name,
		"state":      cmp.Or(srv.State, "running"),
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
	x.ungrouped = false // the fault is one of lists
	s.memberships(x, m, *srv)
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
