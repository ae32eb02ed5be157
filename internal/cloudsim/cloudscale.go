package cloudsim

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// cloudscale answers below /v1/ as the API of cloudscale.ch does.
func (s *Sim) cloudscale(x *exchange) answer {
	switch {
	case x.r.Header.Get("Authorization") == "":
		return say(http.StatusUnauthorized, map[string]string{"detail": "Authentication credentials were not provided."})
	case !x.record.Token:
		return say(http.StatusUnauthorized, map[string]string{"detail": "Invalid token."})
	}
	// The key in the path is one segment: a network with its length has two
	// segments, and is not found.
	part := strings.Split(strings.TrimPrefix(x.r.URL.Path, "/v1/"), "/")
	switch {
	case len(part) == 1 && part[0] == "floating-ips":
		return only(x, func() answer { return s.listFloatingIPs(x) }, nil)
	case len(part) == 2 && part[0] == "floating-ips":
		return s.oneFloatingIP(x, part[1])
	case len(part) == 1 && part[0] == "servers":
		return only(x, func() answer { return s.listServers(x) }, nil)
	case len(part) == 2 && part[0] == "servers":
		return s.oneServer(x, part[1])
	}
	return notFound()
}

// authorised is called with mu held.
func (s *Sim) authorised(x *exchange) bool {
	token, ok := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer ")
	return ok && token != "" && (s.token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) == 1)
}

func notFound() answer {
	return say(http.StatusNotFound, map[string]string{"detail": "Not found."})
}

// only calls get or patch by the request's method, and refuses a method whose
// function is nil.
func only(x *exchange, get, patch func() answer) answer {
	switch {
	case x.r.Method == http.MethodGet && get != nil:
		return get()
	case x.r.Method == http.MethodPatch && patch != nil:
		return patch()
	}
	return say(http.StatusMethodNotAllowed, map[string]string{"detail": fmt.Sprintf("Method %q not allowed.", x.r.Method)})
}

func (s *Sim) listFloatingIPs(x *exchange) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []json.RawMessage{}
	if !strings.Contains(x.r.URL.RawQuery, "tag") { // no object of the simulator has tags
		for _, ip := range s.seen(x) {
			list = append(list, s.floatingIPJSON(x, ip))
		}
	}
	s.shuffle(x, list)
	return say(http.StatusOK, list)
}

func (s *Sim) oneFloatingIP(x *exchange, key string) answer {
	s.mu.Lock()
	i := -1
	for j, ip := range s.ips {
		if ip.Network.Addr().String() == key {
			i = j
		}
	}
	s.mu.Unlock()
	if i < 0 {
		return notFound()
	}
	get := func() answer {
		s.mu.Lock()
		defer s.mu.Unlock()
		return say(http.StatusOK, s.floatingIPJSON(x, s.seen(x)[i]))
	}
	return only(x, get, func() answer { return s.patchFloatingIP(x, i) })
}

// seen is the state that a read shows. It is called with mu held.
func (s *Sim) seen(x *exchange) []FloatingIP {
	if x.stale {
		return s.before
	}
	return s.ips
}

// patchFloatingIP moves a floating IP. A body without a holder is valid and changes
// nothing; a floating IP always points at a server or a load balancer.
func (s *Sim) patchFloatingIP(x *exchange, i int) answer {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(x.body, &fields); err != nil || fields == nil {
		return say(http.StatusBadRequest, map[string]string{"detail": "JSON parse error."})
	}
	refuse := func(field, text string) answer {
		return say(http.StatusBadRequest, map[string]string{field: text})
	}
	holder := map[string]string{}
	for _, field := range []string{"server", "load_balancer"} {
		raw, ok := fields[field]
		if !ok {
			continue
		}
		var id string
		if bytes.Equal(raw, []byte("null")) {
			return refuse(field, "This field may not be null.")
		}
		if err := json.Unmarshal(raw, &id); err != nil || id == "" {
			return refuse(field, "Must be a valid UUID.")
		}
		holder[field] = id
	}
	if len(holder) == 2 {
		return refuse("load_balancer", "Only one of server and load_balancer can be given.")
	}
	if len(holder) == 0 || x.dry {
		return answer{status: http.StatusNoContent}
	}

	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.Lock()
	ip, srv, lb := s.ips[i], s.server(holder["server"]), s.loadBalancer(holder["load_balancer"])
	s.mu.Unlock()
	switch {
	case holder["server"] != "" && srv == nil:
		return refuse("server", fmt.Sprintf("Invalid UUID %q - object does not exist.", holder["server"]))
	case holder["load_balancer"] != "" && lb == "":
		return refuse("load_balancer", fmt.Sprintf("Invalid UUID %q - object does not exist.", holder["load_balancer"]))
	case srv != nil && ip.Region != "" && ip.Region != srv.Region:
		return refuse("server", "The floating IP and the server must be in the same region.")
	}
	if s.move(i, holder["server"], lb) {
		s.note(x, func(r *Request) { r.Applied = true })
	}
	return answer{status: http.StatusNoContent}
}

// loadBalancerUUID derives the UUID of a load balancer from its name.
func loadBalancerUUID(name string) string {
	var b [16]byte
	copy(b[:], name)
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// loadBalancer returns the name of the load balancer with that UUID, of those
// that have or had a floating IP, or "". It is called with mu held.
func (s *Sim) loadBalancer(uuid string) string {
	for _, ips := range [][]FloatingIP{s.ips, s.before} {
		for _, ip := range ips {
			if ip.LoadBalancer != "" && loadBalancerUUID(ip.LoadBalancer) == uuid {
				return ip.LoadBalancer
			}
		}
	}
	return ""
}

// floatingIPJSON is called with mu held.
func (s *Sim) floatingIPJSON(x *exchange, ip FloatingIP) json.RawMessage {
	key := ip.Network.Addr().String()
	base := "http://" + x.r.Host + "/v1/"
	m := map[string]any{
		"href":          base + "floating-ips/" + key,
		"network":       ip.Network.String(),
		"ip_version":    6,
		"next_hop":      nil,
		"server":        nil,
		"load_balancer": nil,
		"type":          "global",
		"region":        nil,
		"reverse_ptr":   key + ".example.net",
		"tags":          map[string]string{},
		"created_at":    "2026-01-02T03:04:05.678901Z",
	}
	if ip.Network.Addr().Is4() {
		m["ip_version"] = 4
	}
	if ip.Region != "" {
		m["type"], m["region"] = "regional", map[string]string{"slug": ip.Region}
	}
	if hop := s.nextHop(ip); hop.IsValid() {
		m["next_hop"] = hop.String()
	}
	if ip.Server != "" {
		m["server"] = map[string]string{"href": base + "servers/" + ip.Server, "uuid": ip.Server}
	}
	if ip.LoadBalancer != "" {
		id := loadBalancerUUID(ip.LoadBalancer)
		m["load_balancer"] = map[string]string{"href": base + "load-balancers/" + id, "uuid": id, "name": ip.LoadBalancer}
	}
	return object(x, m, "network")
}

// object writes a JSON object. Under UnknownFields the object has further fields of
// odd types, and the field named twice stands there twice.
func object(x *exchange, m map[string]any, twice string) json.RawMessage {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // plain maps only
	}
	if !x.extra {
		return b
	}
	again, err := json.Marshal(m[twice])
	if err != nil {
		panic(err)
	}
	extra := fmt.Sprintf(`{"x_number":-1.5e300,"x_list":[null,{"a":[]}],"x_text":"\u0000\ud83d\ude00","%s":%s,`, twice, again)
	return append([]byte(extra), b[1:]...)
}

func (s *Sim) listServers(x *exchange) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []json.RawMessage{}
	for _, srv := range s.servers {
		list = append(list, serverJSON(x, srv))
	}
	return say(http.StatusOK, list)
}

func (s *Sim) oneServer(x *exchange, uuid string) answer {
	s.mu.Lock()
	srv := s.server(uuid)
	s.mu.Unlock()
	if srv == nil {
		return notFound()
	}
	return only(x, func() answer { return say(http.StatusOK, serverJSON(x, *srv)) }, nil)
}

func serverJSON(x *exchange, srv Server) json.RawMessage {
	addresses := []map[string]any{}
	for _, a := range srv.Addresses {
		v, bits := 6, 64
		if a.Is4() {
			v, bits = 4, 24
		}
		gateway := netip.PrefixFrom(a, bits).Masked().Addr().Next()
		addresses = append(addresses, map[string]any{"version": v, "address": a.String(), "prefix_length": bits, "gateway": gateway.String()})
	}
	return object(x, map[string]any{
		"href":       "http://" + x.r.Host + "/v1/servers/" + srv.UUID,
		"uuid":       srv.UUID,
		"name":       srv.Name,
		"status":     "running",
		"zone":       map[string]string{"slug": srv.Region + "1"},
		"interfaces": []map[string]any{{"type": "public", "addresses": addresses}},
		"tags":       map[string]string{},
		"created_at": "2026-01-02T03:04:05.678901Z",
	}, "name")
}

// echo returns the credentials of a request in the spellings in which a server might
// repeat them.
func echo(r *http.Request) map[string]string {
	auth := r.Header.Get("Authorization")
	token := strings.TrimPrefix(auth, "Bearer ")
	return map[string]string{
		"detail": "bad header Authorization: " + auth,
		"query":  url.QueryEscape(token),
		"base64": base64.StdEncoding.EncodeToString([]byte(auth)),
		"hex":    hex.EncodeToString([]byte(token)),
		"half":   token[:len(token)/2],
	}
}
