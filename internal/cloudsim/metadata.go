package cloudsim

import (
	"net/http"
	"net/netip"
	"strings"
)

// metadata answers as the OpenStack metadata service at 169.254.169.254 does: about
// the server that asks, without a token. The uuid at the top is OpenStack's, and is
// unknown to the API.
func (s *Sim) metadata(x *exchange) answer {
	if !strings.HasSuffix(x.r.URL.Path, "/meta_data.json") {
		return answer{status: http.StatusNotFound, contentType: "text/html", body: []byte("404 Not Found\n")}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	srv := s.asking(x.r)
	if srv == nil {
		return answer{status: http.StatusNotFound, contentType: "text/html", body: []byte("404 Not Found\n")}
	}
	return say(http.StatusOK, object(x, map[string]any{
		"uuid":              "00000000-0000-4000-8000-0000" + srv.UUID[max(0, len(srv.UUID)-8):],
		"availability_zone": srv.Region + "1",
		"hostname":          srv.Name,
		"name":              srv.Name,
		"meta":              map[string]string{"cloudscale_uuid": srv.UUID},
	}, "hostname"))
}

// asking returns the server that a request comes from. It is called with mu held.
func (s *Sim) asking(r *http.Request) *Server {
	if uuid, ok := r.Context().Value(askerKey{}).(string); ok {
		return s.server(uuid)
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return nil
	}
	for i := range s.servers {
		for _, a := range s.servers[i].Addresses {
			if a == from.Addr().Unmap().WithZone("") {
				return &s.servers[i]
			}
		}
	}
	if from.Addr().Unmap().IsLoopback() && len(s.servers) > 0 {
		return &s.servers[0]
	}
	return nil
}

// askerKey is the context key of the server that an in-process request comes from.
type askerKey struct{}
