package cloudsim_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

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

// leaver is a body whose client leaves while it sends.
type leaver struct{ leave func() }

func (l leaver) Read([]byte) (int, error) {
	l.leave()
	return 0, io.EOF
}
