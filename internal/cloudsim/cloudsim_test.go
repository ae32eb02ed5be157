package cloudsim_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
)

func TestAPIAnswersAsCloudscaleDoes(t *testing.T) {
	tests := []struct {
		name         string
		method, path string
		body         string
		wantStatus   int
		wantBody     string // part of it
		wantHolder   string // of the IPv4 address afterwards
	}{
		{"moving is a patch without an answer's body", "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"` + lb1 + `"}`, 204, "", lb1},
		{"a network is keyed by its address", "GET", "/v1/floating-ips/2001:db8:1::", "", 200, `"network":"2001:db8:1::/56"`, lb2},
		{"a key with a length is not found", "GET", "/v1/floating-ips/2001:db8:1::/56", "", 404, "Not found.", lb2},
		{"an address inside a network is no key", "GET", "/v1/floating-ips/2001:db8:1::5", "", 404, "Not found.", lb2},
		{"an unknown server is refused in its field", "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"nope"}`, 400, `{"server":`, lb2},
		{"a server of another region is refused", "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"` + remote + `"}`, 400, "same region", lb2},
		{"nowhere is refused", "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":null}`, 400, "may not be null", lb2},
		{"an empty change succeeds and does nothing", "PATCH", "/v1/floating-ips/192.0.2.10", `{}`, 204, "", lb2},
		{"no JSON is refused", "PATCH", "/v1/floating-ips/192.0.2.10", `{`, 400, "parse error", lb2},
		{"a wrong method is refused", "PUT", "/v1/floating-ips/192.0.2.10", `{}`, 405, "not allowed", lb2},
		{"a load balancer is a holder but no server", "GET", "/v1/floating-ips/192.0.2.20", "", 200, `"server":null`, lb2},
		{"the next hop is an address of the holder", "GET", "/v1/floating-ips/192.0.2.10", "", 200, `"next_hop":"198.51.100.12"`, lb2},
		{"a server is found by its UUID", "GET", "/v1/servers/" + lb1, "", 200, `"name":"lb1"`, lb2},
		{"servers are listed", "GET", "/v1/servers", "", 200, `"name":"remote"`, lb2},
		{"what is not simulated is not found", "GET", "/v1/flavors", "", 404, "Not found.", lb2},
		{"a filter by tag finds nothing", "GET", "/v1/floating-ips?tag%3Aa=b", "", 200, "[]", lb2},
		{"a load balancer can be a holder", "PATCH", "/v1/floating-ips/192.0.2.10", `{"load_balancer":"77656200-0000-0000-0000-000000000000"}`, 204, "", ""},
		{"an unknown load balancer is refused", "PATCH", "/v1/floating-ips/192.0.2.10", `{"load_balancer":"x"}`, 400, "does not exist", lb2},
		{"two holders are refused", "PATCH", "/v1/floating-ips/192.0.2.10", `{"load_balancer":"x","server":"y"}`, 400, "Only one", lb2},
		{"an unknown server is not found", "GET", "/v1/servers/x", "", 404, "Not found.", lb2},
		{"metadata names the API's UUID", "GET", "/openstack/2017-02-22/meta_data.json", "", 200, `"cloudscale_uuid":"` + lb1 + `"`, lb2},
	}
	for _, tt := range tests {
		for i, name := range []string{"socket", "in-process"} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				s := newSim(t)
				w := worlds(t, s)[i]
				resp, body, err := do(t.Context(), w, tt.method, tt.path, tt.body)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tt.wantStatus || !strings.Contains(body, tt.wantBody) {
					t.Errorf("want %d with %q, got %d with %q", tt.wantStatus, tt.wantBody, resp.StatusCode, body)
				}
				if got := s.Holder(v4); got != tt.wantHolder {
					t.Errorf("holder: want %s, got %s", tt.wantHolder, got)
				}
			})
		}
	}
}

func TestWrongTokenIsRefused(t *testing.T) {
	s := newSim(t)
	for _, auth := range []string{"", "Bearer wrong", "Basic " + token, token} {
		req, _ := http.NewRequest("PATCH", "http://x/v1/floating-ips/192.0.2.10", strings.NewReader(`{"server":"`+lb1+`"}`))
		req.Header.Set("Authorization", auth)
		resp, err := s.RoundTripper().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 401 || s.Holder(v4) != lb2 {
			t.Errorf("authorization %q: want 401 and no move, got %d, holder %s", auth, resp.StatusCode, s.Holder(v4))
		}
	}
}

func TestMovesRunTheDataPlaneInOrder(t *testing.T) {
	s := newSim(t)
	var got []cloudsim.Move
	s.OnMove(func(m cloudsim.Move) {
		if s.Holder(m.Network) != m.To {
			t.Errorf("state is not yet %s", m.To)
		}
		m.Time = time.Time{}
		got = append(got, m)
	})
	w := world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}
	for _, to := range []string{lb1, lb1} { // the second changes nothing
		if _, _, err := do(t.Context(), w, "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"`+to+`"}`); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Assign(v6, lb1); err != nil {
		t.Fatal(err)
	}
	want := []cloudsim.Move{
		{Network: v4, From: lb2, To: lb1, NextHop: netip.MustParseAddr("198.51.100.11")},
		{Network: v6, From: lb2, To: lb1, NextHop: netip.MustParseAddr("2001:db8:100::11")},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
}

func TestMetadataGoesByTheAsker(t *testing.T) {
	s := newSim(t)
	tests := []struct{ name, remote, want string }{
		{"address of a server", "198.51.100.12:5000", lb2},
		{"IPv6 address of a server", "[2001:db8:100::11]:5000", lb1},
		{"loopback is the first server", "127.0.0.1:5000", lb1},
		{"a stranger", "203.0.113.1:5000", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/openstack/2017-02-22/meta_data.json", nil)
			r.RemoteAddr = tt.remote
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			var doc struct {
				Meta map[string]string `json:"meta"`
			}
			json.Unmarshal(w.Body.Bytes(), &doc)
			if got := doc.Meta["cloudscale_uuid"]; got != tt.want || (w.Code == 200) != (tt.want != "") {
				t.Errorf("want %q, got %q with status %d", tt.want, got, w.Code)
			}
		})
	}
}

func TestInProcessClientCanBeAnyServer(t *testing.T) {
	s := newSim(t)
	_, body, err := do(t.Context(), world{client: &http.Client{Transport: s.RoundTripperFrom(lb2)}, base: "http://x"}, "GET", "/openstack/2017-02-22/meta_data.json", "")
	if err != nil || !strings.Contains(body, lb2) {
		t.Errorf("want %s, got %s, %v", lb2, body, err)
	}
}

func TestARequestIsOnRecordWhenItsClientHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		for range 100 {
			ctx, leave := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, "PATCH", "http://cloud.invalid/v1/floating-ips/192.0.2.1", leaver{leave})
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := s.RoundTripper().RoundTrip(req); err == nil { // it was quicker
				resp.Body.Close()
			}
			s.ClearHistory()
			synctest.Wait()
			if n := len(s.History()); n != 0 {
				t.Fatalf("%d requests came after their client had left", n)
			}
		}
	})
}
