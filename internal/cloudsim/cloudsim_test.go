package cloudsim_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/internal/cloudsim"
)

const (
	token  = "right-token-3141592653"
	lb1    = "11111111-1111-4111-8111-111111111111"
	lb2    = "22222222-2222-4222-8222-222222222222"
	remote = "33333333-3333-4333-8333-333333333333" // in another region
)

var (
	v4 = netip.MustParsePrefix("192.0.2.10/32")
	v6 = netip.MustParsePrefix("2001:db8:1::/56")
)

func newSim(t *testing.T, faults ...cloudsim.Fault) *cloudsim.Sim {
	t.Helper()
	s, err := cloudsim.New(cloudsim.Config{
		Token: token,
		Servers: []cloudsim.Server{
			{UUID: lb1, Name: "lb1", Region: "lpg", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.11"), netip.MustParseAddr("2001:db8:100::11")}},
			{UUID: lb2, Name: "lb2", Region: "lpg", Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.12")}},
			{UUID: remote, Name: "remote", Region: "rma"},
		},
		FloatingIPs: []cloudsim.FloatingIP{
			{Network: v4, Region: "lpg", Server: lb2},
			{Network: v6, Server: lb2},
			{Network: netip.MustParsePrefix("192.0.2.20/32"), Region: "lpg", LoadBalancer: "web"},
		},
		Faults: faults,
		Seed:   1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// world is one of the two ways to a simulator.
type world struct {
	client *http.Client
	base   string
}

// worlds makes the same requests possible over a socket and in-process.
func worlds(t *testing.T, s *cloudsim.Sim) []world {
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return []world{
		{&http.Client{Transport: srv.Client().Transport, CheckRedirect: refuse}, srv.URL},
		{&http.Client{Transport: s.RoundTripper(), CheckRedirect: refuse}, "http://sim.invalid"},
	}
}

func do(ctx context.Context, w world, method, path, body string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

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

func TestFaultsStrikeAlikeInBothWorlds(t *testing.T) {
	const list = "/v1/floating-ips"
	tests := []struct {
		name       string
		fault      cloudsim.Fault
		method     string
		wantStatus int    // 0: an error
		wantBody   string // part of it
		wantErr    bool   // while asking or reading
		wantMoved  bool   // a PATCH took effect
	}{
		{"status with detail", cloudsim.Fault{Kind: cloudsim.Status, Status: 503}, "PATCH", 503, `{"detail":"`, false, false},
		{"status with nested field", cloudsim.Fault{Kind: cloudsim.Status, Status: 400, Form: cloudsim.FormNested}, "PATCH", 400, `{"server":["`, false, false},
		{"status with a list", cloudsim.Fault{Kind: cloudsim.Status, Status: 400, Form: cloudsim.FormList}, "GET", 400, `["`, false, false},
		{"status with nothing", cloudsim.Fault{Kind: cloudsim.Status, Status: 500, Form: cloudsim.FormEmpty}, "GET", 500, "", false, false},
		{"status with the credentials", cloudsim.Fault{Kind: cloudsim.Status, Status: 400, Form: cloudsim.FormEcho}, "GET", 400, token, false, false},
		{"page of a proxy", cloudsim.Fault{Kind: cloudsim.HTML}, "PATCH", 502, "<html>", false, false},
		{"garbage", cloudsim.Fault{Kind: cloudsim.Garbage}, "GET", 200, "garbage", false, false},
		{"empty body", cloudsim.Fault{Kind: cloudsim.EmptyBody}, "GET", 200, "", false, false},
		{"redirect", cloudsim.Fault{Kind: cloudsim.Redirect}, "PATCH", 302, "", false, false},
		{"wrong content type", cloudsim.Fault{Kind: cloudsim.WrongContentType}, "GET", 200, "192.0.2.10", false, false},
		{"cut body", cloudsim.Fault{Kind: cloudsim.CutBody}, "GET", 200, `[{"`, true, false},
		{"cut body of a write", cloudsim.Fault{Kind: cloudsim.CutBody}, "PATCH", 200, `{`, true, true},
		{"dropped connection", cloudsim.Fault{Kind: cloudsim.Drop}, "PATCH", 0, "", true, false},
		{"lost response", cloudsim.Fault{Kind: cloudsim.LostResponse}, "PATCH", 0, "", true, true},
		{"accepted, never done", cloudsim.Fault{Kind: cloudsim.AcceptedOnly}, "PATCH", 204, "", false, false},
		{"unknown fields", cloudsim.Fault{Kind: cloudsim.UnknownFields}, "GET", 200, "x_number", false, false},
		{"another method", cloudsim.Fault{Kind: cloudsim.Drop, Method: "GET"}, "PATCH", 204, "", false, true},
		{"another path", cloudsim.Fault{Kind: cloudsim.Drop, Path: "/v1/servers"}, "PATCH", 204, "", false, true},
		{"over by now", cloudsim.Fault{Kind: cloudsim.Drop, Until: time.Now()}, "PATCH", 204, "", false, true},
	}
	for _, tt := range tests {
		for i, name := range []string{"socket", "in-process"} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				s := newSim(t, tt.fault)
				w := worlds(t, s)[i]
				path, body := list, ""
				if tt.method == "PATCH" {
					path, body = list+"/192.0.2.10", `{"server":"`+lb1+`"}`
				}
				resp, got, err := do(t.Context(), w, tt.method, path, body)
				if (err != nil) != tt.wantErr {
					t.Fatalf("want error %v, got %v", tt.wantErr, err)
				}
				status := 0
				if resp != nil {
					status = resp.StatusCode
				}
				if status != tt.wantStatus || !strings.Contains(got, tt.wantBody) {
					t.Errorf("want %d with %q, got %d with %q", tt.wantStatus, tt.wantBody, status, got)
				}
				if moved := s.Holder(v4) == lb1; moved != tt.wantMoved {
					t.Errorf("moved: want %v, got %v", tt.wantMoved, moved)
				}
				h := s.History()
				if len(h) != 1 || h[0].Applied != tt.wantMoved || h[0].Write != (tt.method == "PATCH") || !h[0].Token {
					t.Errorf("history does not tell it: %+v", h)
				}
			})
		}
	}
}

func TestHangsUntilTheClientGoes(t *testing.T) {
	for _, kind := range []cloudsim.Kind{cloudsim.HangBeforeHeaders, cloudsim.HangAfterHeaders} {
		synctest.Test(t, func(t *testing.T) {
			s := newSim(t, cloudsim.Fault{Kind: kind})
			ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
			defer cancel()
			start := time.Now()
			_, _, err := do(ctx, world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}, "GET", "/v1/floating-ips", "")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: want the deadline, got %v", kind, err)
			}
			if took := time.Since(start); took != 7*time.Second {
				t.Errorf("%s: want 7s, got %s", kind, took)
			}
		})
	}
}

func TestSlowRequestIsCarriedOutThoughItsClientLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, cloudsim.Fault{Kind: cloudsim.Slow, Latency: 2 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := do(ctx, world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}, "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"`+lb1+`"}`)
		if err == nil {
			t.Error("want an error after a second, got none")
		}
		if got := s.Holder(v4); got != lb2 {
			t.Errorf("holder after 1s: want %s, got %s", lb2, got)
		}
		time.Sleep(1001 * time.Millisecond)
		if got := s.Holder(v4); got != lb1 {
			t.Errorf("holder after 2s: want %s, got %s", lb1, got)
		}
	})
}

func TestCountedFaultsRunOut(t *testing.T) {
	s := newSim(t,
		cloudsim.Fault{Kind: cloudsim.Slow, Latency: time.Nanosecond},
		cloudsim.Fault{Kind: cloudsim.Drop, Count: 2},
		cloudsim.Fault{Kind: cloudsim.Status, Status: 429, RetryAfter: "7", Count: 1})
	w := world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}
	var got []string
	for range 4 {
		resp, _, err := do(t.Context(), w, "GET", "/v1/floating-ips", "")
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			got = append(got, "dropped")
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, resp.Status+resp.Header.Get("Retry-After"))
		}
	}
	want := []string{"dropped", "dropped", "429 Too Many Requests7", "200 OK"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
	}
	if d := cmp.Diff(cloudsim.Faults{{Kind: cloudsim.Slow, Latency: time.Nanosecond}}, s.Faults()); d != "" {
		t.Errorf("faults left, want-, got+:\n%s", d)
	}
}

func TestChanceRepeatsWithItsSeed(t *testing.T) {
	run := func() (pattern string) {
		s := newSim(t, cloudsim.Fault{Kind: cloudsim.Drop, Probability: 0.5})
		w := world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}
		for range 32 {
			if _, _, err := do(t.Context(), w, "GET", "/v1/floating-ips", ""); err != nil {
				pattern += "x"
			} else {
				pattern += "."
			}
		}
		return pattern
	}
	first, second := run(), run()
	if first != second || !strings.Contains(first, "x") || !strings.Contains(first, ".") {
		t.Errorf("want the same mixture twice, got %s and %s", first, second)
	}
}

func TestStaleReadsShowTheStateBeforeTheMove(t *testing.T) {
	s := newSim(t, cloudsim.Fault{Kind: cloudsim.Stale, Count: 2})
	w := world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}
	if err := s.Assign(v4, lb1); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 3 {
		_, body, err := do(t.Context(), w, "GET", "/v1/floating-ips/192.0.2.10", "")
		if err != nil {
			t.Fatal(err)
		}
		var ip struct{ Server struct{ UUID string } }
		if err := json.Unmarshal([]byte(body), &ip); err != nil {
			t.Fatal(err)
		}
		got = append(got, ip.Server.UUID)
	}
	if d := cmp.Diff([]string{lb2, lb2, lb1}, got); d != "" {
		t.Errorf("want-, got+:\n%s", d)
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

func TestHeldRequestWaitsForItsRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t)
		h := s.Hold("PATCH", "/v1/floating-ips/")
		done := make(chan error, 1)
		go func() {
			_, _, err := do(t.Context(), world{client: &http.Client{Transport: s.RoundTripper()}, base: "http://x"}, "PATCH", "/v1/floating-ips/192.0.2.10", `{"server":"`+lb1+`"}`)
			done <- err
		}()
		r, err := h.Wait(t.Context())
		if err != nil || r.Method != "PATCH" {
			t.Fatalf("want the held PATCH, got %+v, %v", r, err)
		}
		synctest.Wait()
		if got := s.Holder(v4); got != lb2 {
			t.Errorf("holder while held: want %s, got %s", lb2, got)
		}
		h.Release()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := s.Holder(v4); got != lb1 {
			t.Errorf("holder when released: want %s, got %s", lb1, got)
		}
	})
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

func TestControlForPeople(t *testing.T) {
	for i, name := range []string{"socket", "in-process"} {
		t.Run(name, func(t *testing.T) {
			s := newSim(t)
			w := worlds(t, s)[i]
			steps := []struct {
				method, path, body string
				wantStatus         int
				wantBody           string
			}{
				{"GET", "/_sim/", "", 200, "hang-before-headers"},
				{"GET", "/_sim/floating-ips", "", 200, `"server_name": "lb2"`},
				{"POST", "/_sim/assign", `{"network":"192.0.2.10/32","server":"` + lb1 + `"}`, 204, ""},
				{"POST", "/_sim/assign", `{"network":"192.0.2.99/32","server":"` + lb1 + `"}`, 400, "no such floating IP"},
				{"POST", "/_sim/assign", `{"network":"192.0.2.10/32","server":"x"}`, 400, "no server"},
				{"PUT", "/_sim/faults", `[{"kind":"status","status":429,"retry_after":"5","count":1,"latency":"1ms","for":"1h"}]`, 204, ""},
				{"GET", "/_sim/faults", "", 200, `"retry_after": "5"`},
				{"GET", "/v1/floating-ips", "", 429, "Too Many"},
				{"GET", "/_sim/faults", "", 200, "[]"},
				{"PUT", "/_sim/faults", `[{"kind":"explode"}]`, 400, "unknown kind"},
				{"PUT", "/_sim/faults", `[{"kind":"slow","latency":"soon"}]`, 400, "soon"},
				{"PUT", "/_sim/faults", `[{"kind":"slow","speed":1}]`, 400, "speed"},
				{"GET", "/_sim/history", "", 200, `"fault": "status"`},
				{"DELETE", "/_sim/history", "", 204, ""},
				{"GET", "/_sim/history", "", 200, "[]"},
				{"DELETE", "/_sim/faults", "", 204, ""},
				{"GET", "/_sim/nothing", "", 404, "/_sim/"},
			}
			for _, st := range steps {
				resp, body, err := do(t.Context(), w, st.method, st.path, st.body)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != st.wantStatus || !strings.Contains(body, st.wantBody) {
					t.Errorf("%s %s: want %d with %q, got %d with %q", st.method, st.path, st.wantStatus, st.wantBody, resp.StatusCode, body)
				}
			}
			if got := s.Holder(v4); got != lb1 {
				t.Errorf("holder: want %s, got %s", lb1, got)
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

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:80"} {
		err := cloudsim.Run(t.Context(), cloudsim.RunOptions{Listen: addr, Out: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "loopback only") {
			t.Errorf("%s: want a refusal, got %v", addr, err)
		}
	}
}

func TestImpossibleAccountsAreRefused(t *testing.T) {
	server := []cloudsim.Server{{UUID: lb1}}
	tests := []struct {
		name string
		c    cloudsim.Config
		want string
	}{
		{"server twice", cloudsim.Config{Servers: []cloudsim.Server{{UUID: lb1}, {UUID: lb1}}}, "taken"},
		{"host bits in a network", cloudsim.Config{FloatingIPs: []cloudsim.FloatingIP{{Network: netip.MustParsePrefix("2001:db8::1/56")}}}, "not a network"},
		{"floating IP twice", cloudsim.Config{FloatingIPs: []cloudsim.FloatingIP{{Network: v4}, {Network: v4}}}, "already there"},
		{"unknown holder", cloudsim.Config{FloatingIPs: []cloudsim.FloatingIP{{Network: v4, Server: lb1}}}, "no server"},
		{"two holders", cloudsim.Config{Servers: server, FloatingIPs: []cloudsim.FloatingIP{{Network: v4, Server: lb1, LoadBalancer: "x"}}}, "both"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := cloudsim.New(tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
		})
	}
}

func TestRunSaysHowToUseItAndWhatHappens(t *testing.T) {
	pr, pw := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		err := cloudsim.Run(ctx, cloudsim.RunOptions{Listen: "127.0.0.1:0", Out: pw})
		pw.Close()
		done <- err
	}()
	var seen strings.Builder
	until := func(part string) {
		t.Helper()
		b := make([]byte, 4096)
		for !strings.Contains(seen.String(), part) {
			n, err := pr.Read(b)
			seen.Write(b[:n])
			if err != nil {
				t.Fatalf("want %q, got only %q: %v", part, seen.String(), err)
			}
		}
	}
	until("# --- requests ---\n")
	_, after, _ := strings.Cut(seen.String(), "endpoint: ")
	url, _, _ := strings.Cut(after, "/\n")
	req, _ := http.NewRequestWithContext(ctx, "PATCH", url+"/v1/floating-ips/192.0.2.10", strings.NewReader(`{"server":"11111111-1111-4111-8111-111111111111"}`))
	req.Header.Set("Authorization", "Bearer simulated-token")
	answered := make(chan error, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	until("floating IP 192.0.2.10/32 moves from lb2 to lb1\n")
	until("PATCH /v1/floating-ips/192.0.2.10: 204 after ")
	if err := <-answered; err != nil {
		t.Error(err)
	}

	const attach = `{"instance":{"id":"11111111-1111-4111-8111-111111111111"}}`
	until("# exoscale: {endpoint: " + url + `/v2, key: simulated-key, secret: "simulated-token"`)
	req, _ = http.NewRequestWithContext(ctx, "PUT", url+"/v2/elastic-ip/e0000000-0000-4000-8000-000000000004:attach", strings.NewReader(attach))
	sign(req, attach, "simulated-key", "simulated-token", time.Now().Add(time.Minute))
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	until(":attach: 200 after ")
	until("elastic IP 192.0.2.20/32 is attached to lb2 and lb1\n")
	if err := <-answered; err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("want no error at the end, got %v", err)
	}
}

func FuzzFaultJSON(f *testing.F) {
	f.Add([]byte(`{"kind":"status","status":429,"retry_after":"5","count":1,"latency":"1ms","until":"2026-11-21T12:00:00Z"}`))
	f.Add([]byte(`{"kind":"slow","probability":0.5,"for":"1h"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var fault, again cloudsim.Fault
		if json.Unmarshal(b, &fault) != nil {
			return
		}
		text, err := json.Marshal(fault)
		if err != nil {
			return // a year that JSON cannot have
		}
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%s does not read back: %v", text, err)
		}
		if d := cmp.Diff(fault, again, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
			t.Errorf("%s: want-, got+:\n%s", text, d)
		}
	})
}

// leaver is a body whose client leaves while it sends.
type leaver struct{ leave func() }

func (l leaver) Read([]byte) (int, error) {
	l.leave()
	return 0, io.EOF
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
