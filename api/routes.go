package api

import (
	_ "embed"
	"net/http"
	"strconv"

	"berth/internal/status"
)

// route is a pattern of http.ServeMux and what answers there.
type route struct {
	pattern string
	handler http.Handler
}

// routes returns all routes. openapi.json describes them.
func (s *site) routes() []route {
	return []route{
		// Those of LinK.
		{"GET /ips", s.ofIPs(listIPs)},
		{"POST /ips", s.ofIPs(addIP)},
		{"GET /ips/{id}", s.ofIP(getIP)},
		{"PUT /ips/{id}", s.ofIP(updateIP(true))},
		{"PATCH /ips/{id}", s.ofIP(updateIP(false))},
		{"DELETE /ips/{id}", s.ofIP(removeIP)},
		{"POST /ips/{id}/lock", s.ofIP(lockIP)},
		{"POST /ips/{id}/failover", s.ofIP(s.failoverIP)},
		{"GET /version", s.asJSON(s.version)},

		{"POST /instances/{name}/failover", s.asJSON(s.failoverInstance)},
		{"GET /pool", s.ofPool(listPool)},
		{"POST /pool/ips", s.ofPool(addToPool)},
		{"DELETE /pool/ips/{address}", s.ofPool(removeFromPool)},
		{"PUT /pool/drained/{member}", s.ofPool(s.drain(false))},
		{"DELETE /pool/drained/{member}", s.ofPool(s.drain(true))},
		{"GET /{$}", page()},
		{"GET /cluster", s.asJSON(s.view)},
		{"GET /events", http.HandlerFunc(s.events)},
		{"GET /status", s.asJSON(s.status)},
		{"GET /healthz", s.asJSON(healthy)},
		{"GET /readyz", s.asJSON(s.ready)},
		{"GET /metrics", s.options.Metrics},
		{"GET /openapi.json", http.HandlerFunc(description)},
	}
}

// version answers with the version of berth.
func (s *site) version(*http.Request) (answer, error) {
	return answer{status: http.StatusOK, body: struct {
		Version string `json:"version"`
	}{s.options.Version}}, nil
}

// view answers with the cluster as this host sees it.
func (s *site) view(*http.Request) (answer, error) {
	return answer{status: http.StatusOK, body: s.options.Cluster.View()}, nil
}

// status answers as berth status --output json does.
func (s *site) status(*http.Request) (answer, error) {
	all := s.options.Status()
	if all == nil {
		all = []status.Instance{}
	}
	return answer{status: http.StatusOK, body: all}, nil
}

// condition is the answer of a process that is well.
type condition struct {
	Status string `json:"status"`
}

// healthy answers that the process lives. Without etcd it does so too: a restart would
// mend nothing.
func healthy(*http.Request) (answer, error) {
	return answer{status: http.StatusOK, body: condition{"ok"}}, nil
}

// ready answers whether this process takes part in what it was started for.
func (s *site) ready(*http.Request) (answer, error) {
	if ready, reason := s.options.Ready(); !ready {
		return answer{}, refuse(http.StatusServiceUnavailable, "%s", reason)
	}
	return answer{status: http.StatusOK, body: condition{"ready"}}, nil
}

// openapi describes the API in the form of OpenAPI 3.1
// (https://spec.openapis.org/oas/v3.1.0).
//
//go:embed openapi.json
var openapi []byte

// description answers with the description of the API.
func description(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(openapi)))
	_, _ = w.Write(openapi) // a client that has gone needs no answer
}
