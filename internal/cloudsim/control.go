package cloudsim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

const controlPrefix = "/_sim/"

const controlHelp = `berth cloud simulator: control

GET    /_sim/floating-ips   every floating IP and who has it
POST   /_sim/assign         {"network":"192.0.2.10/32","server":"UUID"}: move it, as another client would
POST   /_sim/server         {"server":"UUID","state":"stopped","security_groups":["ID"]}: change an instance of Exoscale
GET    /_sim/history        every API request so far, oldest first
DELETE /_sim/history        forget them
GET    /_sim/faults         faults that can still strike
PUT    /_sim/faults         [{"kind":"status","status":429,"retry_after":"5","count":2},
                             {"kind":"hang-before-headers","method":"PATCH","for":"5s"}]
DELETE /_sim/faults         be friendly again

A fault has: kind (%v),
method, path (prefix), count, for or until, probability, latency, status,
form (%v), body, retry_after, location, reason.
`

// control serves the paths by which a person or a script controls the simulator,
// without a token: every client that can connect may move every address.
func (s *Sim) control(w http.ResponseWriter, r *http.Request) {
	what := r.Method + " " + r.URL.Path[len(controlPrefix)-1:]
	switch what {
	case "GET /":
		fmt.Fprintf(w, controlHelp, kinds, forms)
	case "GET /floating-ips":
		reply(w, s.holdersJSON())
	case "POST /assign":
		var in struct {
			Network netip.Prefix `json:"network"`
			Server  string       `json:"server"`
		}
		if !read(w, r, &in) {
			return
		}
		move := s.Assign
		if slices.ContainsFunc(s.ElasticIPs(), func(e ElasticIP) bool { return e.Network == in.Network }) {
			move = func(network netip.Prefix, server string) error { return s.Attach(network, server) }
		}
		if err := move(in.Network, in.Server); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "POST /server":
		var in struct {
			Server string   `json:"server"`
			State  string   `json:"state"`
			Groups []string `json:"security_groups"`
		}
		if !read(w, r, &in) {
			return
		}
		if err := s.SetServer(in.Server, in.State, in.Groups...); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case "GET /history":
		reply(w, s.historyJSON())
	case "DELETE /history":
		s.ClearHistory()
		w.WriteHeader(http.StatusNoContent)
	case "GET /faults":
		f := s.Faults()
		if f == nil {
			f = Faults{}
		}
		reply(w, f)
	case "PUT /faults":
		var f Faults
		if !read(w, r, &f) {
			return
		}
		s.SetFaults(f)
		w.WriteHeader(http.StatusNoContent)
	case "DELETE /faults":
		s.SetFaults(nil)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "no "+r.Method+" for this path; see "+controlPrefix, http.StatusNotFound)
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(v) // an error means that the client has gone
}

// read decodes a JSON body, or answers 400 and returns false.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(io.LimitReader(r.Body, maxRequestBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		http.Error(w, "read body: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (s *Sim) holdersJSON() any {
	type holder struct {
		Network      netip.Prefix `json:"network"`
		Region       string       `json:"region"`
		Server       string       `json:"server"`
		ServerName   string       `json:"server_name"`
		LoadBalancer string       `json:"load_balancer"`
		Servers      []string     `json:"servers,omitempty"` // of an elastic IP
	}
	elastic := s.ElasticIPs()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []holder{}
	for _, ip := range s.ips {
		h := holder{Network: ip.Network, Region: ip.Region, Server: ip.Server, LoadBalancer: ip.LoadBalancer}
		if srv := s.server(ip.Server); srv != nil {
			h.ServerName = srv.Name
		}
		out = append(out, h)
	}
	for _, e := range elastic {
		out = append(out, holder{Network: e.Network, Region: e.Zone, Servers: e.Servers})
	}
	return out
}

func (s *Sim) historyJSON() any {
	type request struct {
		Time    time.Time  `json:"time"`
		Done    *time.Time `json:"done"`
		Method  string     `json:"method"`
		Path    string     `json:"path"`
		Remote  string     `json:"remote"`
		Body    string     `json:"body"`
		Status  int        `json:"status"`
		Write   bool       `json:"write"`
		Token   bool       `json:"token"`
		Fault   Kind       `json:"fault"`
		Applied bool       `json:"applied"`
	}
	out := []request{}
	for _, r := range s.History() {
		j := request{r.Time, nil, r.Method, r.Path, r.Remote, r.Body, r.Status, r.Write, r.Token, r.Fault, r.Applied}
		if !r.Done.IsZero() {
			j.Done = &r.Done
		}
		out = append(out, j)
	}
	return out
}
