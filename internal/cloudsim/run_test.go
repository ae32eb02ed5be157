package cloudsim_test

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/cloudsim"
)

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
