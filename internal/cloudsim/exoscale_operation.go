package cloudsim

import (
	"encoding/json"
	"net/http"
	"time"
)

// operation is an attach or detach, pending or finished.
type operation struct {
	id, state, reason string
	due               time.Time
	eip               int
	server            string
	attach, dry       bool
	vanishes          bool
	record            *Request
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

// settle finishes the operations whose time has come, in their order.
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
